"""`waypost runs fork` and `waypost runs compare` as processes, against a real coordinator on a real server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.api.test_command_line import Done, Shell
from waypost.client import Client
from waypost_coordinator.service import Coordinator
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.identity import new_token
from waypost_io.metrics import Metrics
from waypost_io.settings import CoordinatorSettings, load
from waypost_io.store.memory import MemoryStore

MISSING = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"
PEOPLE = {"ann": "bank", "eve": "other"}


class Office:
    """A coordinator that authenticates; `people` have a token each, and a tenant."""

    def __init__(self, nats_url: str, prefix: str, folder: Path) -> None:
        self.url, self.prefix, self.folder = nats_url, prefix, folder
        made = {name: new_token() for name in PEOPLE}
        self.tokens = {name: token for name, (token, _) in made.items()}
        self.file = folder / "identities.toml"
        self.file.write_text(
            "".join(
                f'[[identity]]\nsubject = "{name}"\nkey = "{key}"\nroles = ["operator"]\ntenant = "{PEOPLE[name]}"\n'
                for name, (_, key) in made.items()
            ),
            encoding="utf-8",
        )

    def shell(self, name: str) -> Shell:
        made = Shell(self.url, self.prefix, self.folder)
        made.environment["WAYPOST_API_TOKEN"] = self.tokens[name]
        return made


@pytest.fixture
async def office(nats_url: str, prefix: str, tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(nats_url, prefix, tmp_path)
    settings = load(
        CoordinatorSettings,
        {
            "WAYPOST_NATS_URL": nats_url,
            "WAYPOST_POSTGRES_URL": "postgresql://127.0.0.1/none",
            "WAYPOST_PREFIX": prefix,
            "WAYPOST_PARTITIONS": "1",
            "WAYPOST_API_TOKENS_FILE": str(made.file),
        },
    )
    async with JetStreamBus(nats_url, name="coordinator") as bus:
        coordinator = Coordinator(MemoryStore(time.time), bus, settings, Metrics())
        await coordinator.prepare()
        running = asyncio.ensure_future(coordinator.run())
        try:
            await coordinator.ready.wait()
            yield made
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.fixture
async def client(office: Office) -> AsyncIterator[Client]:
    async with Client(office.url, prefix=office.prefix, token=office.tokens["ann"], patience_seconds=10.0) as made:
        yield made


@pytest.fixture
async def source(client: Client) -> str:
    """A run that has heard a signal and waits for a worker."""
    run_id = (await client.start("clerk", {"id": 1})).run_id
    await client.signal(run_id, "go", "now")
    return run_id


async def test_a_fork_and_what_it_differs_in(office: Office, client: Client, source: str) -> None:
    shell = office.shell("ann")
    same, other, live = await asyncio.gather(
        shell("runs", "fork", source, "--at", "2", "--json"),
        shell("runs", "fork", source, "--at", "1", "--input", '{"id": 2}', "--max-steps", "5", "--label", "why=what-if"),
        shell("runs", "fork", source, "--at", "1", "--tools", "live", "--deadline", "PT1H"),
    )
    assert (same.code, other.code, live.code) == (0, 0, 0), (same.err, other.err, live.err)
    forks = [json.loads(same.out)["run_id"], other.out.strip(), live.out.strip()]
    assert "nothing is executed" in other.err
    assert f"waypost runs compare {source} {forks[1]}" in other.err
    assert "they take effect" in live.err
    views = [await client.get(run_id) for run_id in forks]
    assert [(view.fork.run_id, view.fork.seq, view.fork.tools) for view in views if view.fork is not None] == [
        (source, 2, "recorded"),
        (source, 1, "recorded"),
        (source, 1, "live"),
    ]
    assert views[1].labels == {"why": "what-if", "waypost.forked_from": source}
    assert views[1].budget.max_steps == 5
    assert views[2].deadline is not None
    equal, differing, as_json = await asyncio.gather(
        shell("runs", "compare", source, forks[0], "--all"),
        shell("runs", "compare", source, forks[1]),
        shell("runs", "compare", source, forks[1], "--json"),
    )
    assert (equal.code, equal.out.splitlines()[-1]) == (0, "the runs are the same")
    assert differing.code == 1, "as `diff` has it"
    assert "input" in differing.out
    found = json.loads(as_json.out)
    assert (as_json.code, found["right"]["forked_from"], found["right"]["forked_at"], "input" in found["differs"]) == (1, source, 1, True)


async def test_what_is_refused_says_why_in_one_line(office: Office, source: str) -> None:
    ann, eve = office.shell("ann"), office.shell("eve")
    results = await asyncio.gather(
        ann("runs", "fork", MISSING, "--at", "1"),
        ann("runs", "fork", source, "--at", "3"),
        ann("runs", "fork", source, "--at", "2", "--input", "1"),
        ann("runs", "fork", source, "--at", "1", "--input", "{"),
        ann("runs", "fork", source, "--at", "1", "--tools", "dry"),
        ann("runs", "fork", source),
        eve("runs", "fork", source, "--at", "1"),
        eve("runs", "compare", source, source),
        ann("runs", "compare", source, MISSING),
    )
    unknown, beyond, input_later, bad_input, bad_tools, nowhere, foreign, foreign_compare, no_other = results
    _refused(unknown, 1, f"no run {MISSING}")
    _refused(beyond, 2, f"run {source} has 2 events: there is no event 3 to fork it at")
    _refused(input_later, 2, "fork at event 1 to change it")
    _refused(bad_input, 2, "--input")
    for usage, said in ((bad_tools, "dry"), (nowhere, "--at")):
        assert (usage.code, usage.out) == (2, "")
        assert said in usage.err
    _refused(foreign, 1, f"no run {source}")
    _refused(foreign_compare, 1, f"no run {source}")
    _refused(no_other, 1, f"no run {MISSING}")


def _refused(done: Done, code: int, said: str) -> None:
    assert (done.code, done.out) == (code, ""), done
    assert done.err.count("\n") == 1, done
    assert said in done.err
