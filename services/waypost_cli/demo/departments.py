"""Starts the departments' systems beside the platform: three HTTP services as processes, one Postgres database.

Owns their processes and the file that tells the tools where they are. Chaos leaves them alone: they fail by themselves.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import msgspec

from waypost_examples.compliance import wire
from waypost_examples.compliance.legacy import core_banking, kyc
from waypost_examples.compliance.legacy.book import book_of
from waypost_examples.compliance.legacy.faults import DEMO_SEED
from waypost_examples.compliance.legacy.regulator import Counts
from waypost_examples.compliance.legacy.sanctions import Entry
from waypost_examples.compliance.model import Case
from waypost_examples.compliance.tools import ADDRESSES_FILE, Addresses
from waypost_io.servers import ChildProcess, NotReady, ProcessSpec, free_port

READY_SECONDS = 20.0
POLL_SECONDS = 0.02
STOP_SECONDS = 2.0
SERVICES = ("kyc", "sanctions", "regulator")
SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Plan:
    """Where things will be, known before anything runs, so that the services can be told."""

    data_dir: Path
    seed: int
    ports: dict[str, int]
    secret: str
    """What notices to the supervisor are signed with."""

    @classmethod
    def make(cls, data_dir: Path, seed: int) -> Plan:
        ports = {name: free_port() for name in (*SERVICES, SUPERVISOR)}
        return cls(data_dir, DEMO_SEED + seed, ports, secrets.token_hex(16))

    @property
    def addresses_file(self) -> Path:
        return self.data_dir.absolute() / "desk.json"

    @property
    def environment(self) -> dict[str, str]:
        """What the services must know: the gateway where the departments are and the policy, the coordinator who is told."""
        return {
            ADDRESSES_FILE: str(self.addresses_file),
            "WAYPOST_POLICY_FILE": str(resources.files("waypost_examples.compliance") / "policy.toml"),
            "WAYPOST_SUPERVISOR_WEBHOOK_URL": f"{self.url(SUPERVISOR)}/notices",
            "WAYPOST_SUPERVISOR_WEBHOOK_SECRET": self.secret,
            "WAYPOST_AUDIT_HEAD_SECONDS": "1",  # it ends with a check of all that was recorded
            "WAYPOST_EXAMPLES_OFFLINE": "1",  # how the cases end is known, and nobody who tries the demo means to pay a provider
        }

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def database_file(self, service: str) -> Path:
        return self.data_dir.absolute() / f"{service}.sqlite"

    def log_path(self, service: str) -> Path:
        return self.data_dir.absolute() / "logs" / f"{service}.log"


@asynccontextmanager
async def departments(plan: Plan, cases: Sequence[Case]) -> AsyncIterator[None]:
    """The three services, up for as long as the context. Raises `NotReady` with the end of a log."""
    book = book_of((case.account for case in cases), plan.seed)
    await asyncio.to_thread(kyc.populate, plan.database_file("kyc"), [entry.customer for entry in book.values()])
    async with AsyncExitStack() as stack:
        for service in SERVICES:
            process = await ChildProcess.start(_spec(plan, service))
            stack.push_async_callback(process.stop)
            await _ready(plan, service, process)
        yield


async def open_core_banking(plan: Plan, cases: Sequence[Case], postgres_url: str) -> None:
    """Make the core banking database and tell the tools where everything is; from now on the desk can work."""
    book = book_of((case.account for case in cases), plan.seed)
    url = await core_banking.populate(postgres_url, [entry.account for entry in book.values()], plan.seed)
    addresses = Addresses(core_banking=url, **{service: plan.url(service) for service in SERVICES})
    plan.addresses_file.write_bytes(msgspec.json.encode(addresses))


async def counts(plan: Plan) -> Counts:
    """What the regulator received, by its own count."""
    return (await wire.get(plan.url("regulator"), "counts")).read(Counts)


async def freezes(plan: Plan) -> list[Entry]:
    """The freezing office's book, as a person reads it."""
    return (await wire.get(plan.url("sanctions"), "freezes")).read(list[Entry])


def _spec(plan: Plan, service: str) -> ProcessSpec:
    files = () if service == "sanctions" else ("--file", str(plan.database_file(service)))
    options = (service, "--port", str(plan.ports[service]), "--seed", str(plan.seed), *files)
    return ProcessSpec(
        name=service,
        command=(sys.executable, "-m", "waypost_examples.compliance.legacy", *options),
        log_path=plan.log_path(service),
        stop_seconds=STOP_SECONDS,
    )


async def _ready(plan: Plan, service: str, process: ChildProcess) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            while process.running:
                try:
                    await wire.get(plan.url(service), "ready")
                except ConnectionError:
                    await asyncio.sleep(POLL_SECONDS)
                else:
                    return
    except TimeoutError:
        raise NotReady(f"{service} was not ready within {READY_SECONDS:g} s; its log ends:\n{process.log_tail()}") from None
    raise NotReady(f"{service} ended with code {process.returncode} at start; its log ends:\n{process.log_tail()}")
