"""Coordinators, a worker and a gateway as real processes for agents that wait for people, and who these people are."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.stack import QUICK, hosted
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.identity import new_token
from waypost_proto.api import ApprovalView

WATCHER = "watcher"
"""Who may read, and nothing more."""
MODULE = Path(__file__).with_name("people_module.py")


def identities(people: Mapping[str, list[str]], more: str = "") -> tuple[str, dict[str, str]]:
    """The text of a file of identities, and everybody's token."""
    tokens: dict[str, str] = {}
    lines = []
    for subject, roles in people.items():
        tokens[subject], key = new_token()
        lines.append(f'[[identity]]\nsubject = "{subject}"\nkey = "{key}"\nroles = {roles!r}\n'.replace("'", '"') + more)
    return "\n".join(lines), tokens


@dataclass
class Platform:
    """Running services. `tokens` by person; empty where nobody is authenticated."""

    environment: dict[str, str]
    log_file: Path
    tokens: dict[str, str] = field(default_factory=dict)
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, *command: str) -> None:
        environment = {**os.environ, **self.environment}
        with self.log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", *command, env=environment, stdout=log, stderr=log)
        self.processes.append(process)

    async def stop(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
        for process in self.processes:
            await process.wait()

    @asynccontextmanager
    async def client(self, who: str = "") -> AsyncIterator[Client]:
        """A client that signs as `who`; "" does not sign."""
        url, prefix = self.environment["WAYPOST_NATS_URL"], self.environment["WAYPOST_PREFIX"]
        async with Client(url=url, prefix=prefix, token=self.tokens[who] if who else "", patience_seconds=15) as client:
            yield client

    def effects(self, run_id: str) -> list[str]:
        """The amounts that were paid for a run, as the outside world has seen them."""
        path = Path(self.environment["EFFECTS_FILE"])
        lines = path.read_text(encoding="utf-8").split() if path.exists() else []
        return [line.rsplit(":", 1)[1] for line in lines if line.startswith(run_id)]

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")[-6_000:]


@asynccontextmanager
async def platform(
    path: Path,
    *,
    nats_url: str,
    postgres_url: str,
    people: Mapping[str, list[str]] | None = None,
    coordinators: int = 1,
    module: Path = MODULE,
    **environment: str,
) -> AsyncIterator[Platform]:
    """Everything up, and killed at the end. With `people` callers are authenticated."""
    tokens: dict[str, str] = {}
    made = {
        **QUICK,
        "WAYPOST_NATS_URL": nats_url,
        "WAYPOST_POSTGRES_URL": postgres_url,
        "WAYPOST_PREFIX": f"a{uuid.uuid4().hex[:8]}",
        "EFFECTS_FILE": str(path / "effects"),
        **environment,
    }
    if people is not None:
        text, tokens = identities({**people, WATCHER: ["auditor"]})
        (path / "identities.toml").write_text(text, encoding="utf-8")
        made["WAYPOST_API_TOKENS_FILE"] = str(path / "identities.toml")
    running = Platform(made, path / "services.log", tokens)
    try:
        for _ in range(coordinators):
            await running.start("waypost_coordinator")
        await running.start("waypost_worker", str(module))
        await running.start("waypost_gateway", str(module))
        async with running.client(WATCHER if people is not None else "") as client:
            await hosted(client)
        yield running
    finally:
        await running.stop()


async def approval_of(client: Client, run_id: str, *, other_than: str = "") -> ApprovalView:
    """The open approval or question of a run, once it is there."""

    async def found() -> ApprovalView | None:
        return next((a for a in await client.approvals(run_id=run_id) if a.approval_id != other_than), None)

    view = await wait_until(found, message=f"run {run_id} asks nobody")
    assert view is not None
    return view
