"""`python -m waypost_worker` as a process: its exit codes and messages, SIGTERM, and kill -9 at every boundary."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tests.integration.worker.conftest import QUICK
from tests.unit.waypost_worker.journals import Run
from tests.unit.waypost_worker.stand_in import StandIn
from tests.waiting import wait_until
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.ports import Bus
from waypost_io.servers import EmbeddedNats
from waypost_proto.codec import decode
from waypost_proto.events import ToolCallRequested
from waypost_proto.subjects import Subjects

BUILD = "b1"
AGENTS = """
import os
from pathlib import Path
from waypost import Context, agent, tool

@tool(effect="read")
async def lookup(key: str) -> str:
    return key

async def note(label: str) -> str:
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(label + "\\n")
    return label

@agent(tools=[lookup])
async def works(ctx: Context) -> list[str]:
    done = []
    for label in ("one", "two"):
        done.append(await ctx.step(note, label))
        done.append(await ctx.step(note, label + "-again"))
        done.append(await ctx.call(lookup, label))
    return done
"""
RESULT = b'["one","one-again","one","two","two-again","two"]'


class Site:
    """A folder with agents, an environment, and worker processes."""

    def __init__(self, folder: Path, nats_url: str, prefix: str) -> None:
        self.folder = folder
        self.notes = folder / "notes"
        (folder / "desk_agents.py").write_text(AGENTS)
        self.environment = {
            **os.environ,
            "WAYPOST_NATS_URL": nats_url,
            "WAYPOST_PREFIX": prefix,
            "WAYPOST_BUILD": BUILD,
            "WAYPOST_WORKER_ACK_WAIT_SECONDS": "1",
            "WAYPOST_WORKER_RESEND_SECONDS": "0.5",
            "WAYPOST_LOG_FORMAT": "json",
            "NOTES": str(self.notes),
        }

    @asynccontextmanager
    async def worker(self, *arguments: str, **extra: str) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "waypost_worker",
            *(arguments or ("desk_agents.py",)),
            cwd=self.folder,
            env={**self.environment, **extra},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def fails(self, *arguments: str, **extra: str) -> tuple[int, str]:
        """Exit code and standard error of a worker that ends by itself."""
        async with self.worker(*arguments, **extra) as process:
            _, errors = await asyncio.wait_for(process.communicate(), 20)
            assert process.returncode is not None
            return process.returncode, errors.decode()


@pytest.fixture
def site(tmp_path: Path, nats_url: str, prefix: str) -> Site:
    return Site(tmp_path, nats_url, prefix)


@pytest.fixture
async def coordinator(nats_url: str, prefix: str) -> AsyncIterator[StandIn]:
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(JetStreamBus(nats_url, tuning=QUICK))
        stand_in = await stack.enter_async_context(StandIn(bus, Subjects(prefix)))
        stand_in.tools["lookup"] = lambda args: args["key"]
        yield stand_in


async def completed(run: Run) -> None:
    await wait_until(lambda: run.status == "completed", message=lambda: f"{run.status} {[entry.type for entry in run.entries]}")
    assert bytes(run.result.result) == RESULT


async def test_it_runs_and_drains_at_sigterm(site: Site, coordinator: StandIn) -> None:
    async with site.worker() as process:
        await wait_until(lambda: coordinator.announced)
        await completed(coordinator.start("works", BUILD))
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert coordinator.heartbeats[-1].state == "stopped"
    assert site.notes.read_text().split() == ["one", "one-again", "two", "two-again"]


async def test_sigterm_without_a_coordinator(site: Site, free_port: int) -> None:
    async with site.worker(WAYPOST_OPS_ADDR=f"127.0.0.1:{free_port}") as process:
        answer = await wait_until(lambda: _get(free_port, "/readyz"), ignore=(OSError,))
        assert answer.startswith("HTTP/1.1 503"), "nobody has taken what it hosts"
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0


@pytest.mark.slow
async def test_sigterm_without_a_server(tmp_path: Path, own_nats: EmbeddedNats) -> None:
    site = Site(tmp_path, own_nats.url, "waypost")
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(JetStreamBus(own_nats.url, tuning=QUICK))
        coordinator = await stack.enter_async_context(StandIn(bus, Subjects()))
        async with site.worker() as process:
            await wait_until(lambda: coordinator.announced)
            await wait_until(lambda: coordinator.heartbeats)
            await own_nats.kill()
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0
        await own_nats.start()


BOUNDARIES = [f"worker.{boundary}.{side}" for boundary in ("activation", "publish", "ack") for side in ("before", "after")]


def _answer(coordinator: StandIn, run: Run, script: Callable[[dict[str, Any]], Any]) -> int:
    """Complete the calls that are not answered; how many there were."""
    calls = [decode(ToolCallRequested, entry.data) for entry in run.of_type("tool_call_requested")]
    open_calls = calls[len(run.of_type("tool_call_completed")) :]
    for call in open_calls:
        assert isinstance(call.args, Raw)
        coordinator.complete_call(run, call.call_id, call.tool, script(msgspec.json.decode(call.args)))
    return len(open_calls)


async def _answer_when_rested(coordinator: StandIn, run: Run, script: Callable[[dict[str, Any]], Any]) -> None:
    """Answer each call once the worker has acknowledged what it held.

    Answered sooner, the next activation can come before the worker has come to rest: it then acknowledges both at once, and never
    passes that boundary a second time.
    """
    stream = coordinator.subjects.stream("WORK")
    while True:
        await wait_until(lambda: len(run.of_type("tool_call_requested")) > len(run.of_type("tool_call_completed")), seconds=40)
        await wait_until(lambda: _none_left(coordinator.bus, stream), seconds=40)
        assert _answer(coordinator, run, script) == 1
        coordinator.activate(run)


async def _none_left(bus: Bus, stream: str) -> bool:
    return not await bus.subjects(stream, ">")


@pytest.mark.crash
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("passage", [1, pytest.param(2, marks=pytest.mark.slow)])
async def test_killed_at_every_boundary_nothing_recorded_runs_again(site: Site, coordinator: StandIn, boundary: str, passage: int) -> None:
    lookup = coordinator.tools.pop("lookup")
    run = coordinator.start("works", BUILD)
    async with site.worker(WAYPOST_FAULTS=f"{boundary}:{passage}") as process:
        answering = asyncio.create_task(_answer_when_rested(coordinator, run, lookup))
        assert await asyncio.wait_for(process.wait(), 40) == -signal.SIGKILL
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    recorded = {bytes(entry.data) for entry in run.of_type("step_completed")}
    coordinator.tools["lookup"] = lookup
    async with site.worker():
        run.worker = ""  # a coordinator learns it from the heartbeats
        _answer(coordinator, run, lookup)
        coordinator.activate(run)
        await completed(run)
    assert recorded <= {bytes(entry.data) for entry in run.of_type("step_completed")}
    notes = site.notes.read_text().split()
    assert sorted(set(notes)) == ["one", "one-again", "two", "two-again"]
    assert len(notes) <= 5, f"at most the step whose result was not recorded ran again: {notes}"


POISON = """
import os
from waypost import Context, agent

@agent
async def poison(ctx: Context) -> None:
    os.abort()

@agent
async def innocent(ctx: Context) -> int:
    first = await ctx.signal("go", int)
    return first + await ctx.signal("go", int)
"""


@pytest.mark.crash
async def test_row_14_a_run_that_kills_every_worker_holds_nobody_up(site: Site, coordinator: StandIn) -> None:
    """CORRECTNESS.md row 14: workers die of one run and are started again, as by a supervisor; the other runs get done."""
    (site.folder / "poison.py").write_text(POISON)
    deaths = 0
    over = asyncio.Event()

    async def supervise() -> None:
        nonlocal deaths
        while not over.is_set():
            async with site.worker("poison.py") as process:
                await asyncio.wait(
                    [ended := asyncio.ensure_future(process.wait()), asyncio.ensure_future(over.wait())], return_when="FIRST_COMPLETED"
                )
                deaths += ended.done()

    supervisor = asyncio.create_task(supervise())
    coordinator.start("poison", BUILD)
    runs = [coordinator.start("innocent", BUILD) for _ in range(10)]
    await wait_until(lambda: deaths >= 3, seconds=60)
    for _ in range(2):
        for run in runs:
            run.worker = ""
            coordinator.signal(run, "go", 1)
    for run in runs:
        await wait_until(lambda run=run: run.status == "completed", seconds=60)  # type: ignore[misc]
    over.set()
    await supervisor


async def test_agent_code_that_blocks_is_named(site: Site, coordinator: StandIn) -> None:
    (site.folder / "blocks.py").write_text(
        "import time\nfrom waypost import Context, agent\n\n@agent\nasync def blocks(ctx: Context) -> None:\n    time.sleep(60)\n"
    )
    async with site.worker("blocks.py") as process:
        await wait_until(lambda: coordinator.announced)
        coordinator.start("blocks", BUILD)
        assert process.stderr is not None
        async with asyncio.timeout(20):
            while b"blocks.py" not in (line := await process.stderr.readline()):
                assert line, "it ended"
        assert b"in blocks" in line


async def test_a_step_in_a_thread_does_not_keep_a_stopped_worker(site: Site, coordinator: StandIn) -> None:
    (site.folder / "threads.py").write_text(
        "import time\nfrom waypost import Context, agent\n\n"
        "@agent\nasync def waits(ctx: Context) -> None:\n    await ctx.step(time.sleep, 600)\n"
    )
    async with site.worker("threads.py", WAYPOST_DRAIN_SECONDS="1") as process:
        await wait_until(lambda: coordinator.announced)
        run = coordinator.start("waits", BUILD)
        await wait_until(lambda: run.running == 1)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert run.of_type("step_failed") == [], "it was not finished, and nothing was said of it"


async def test_a_module_without_agents_says_what_it_has(site: Site) -> None:
    (site.folder / "tools_only.py").write_text(
        'from waypost import tool\n\n@tool(effect="read")\nasync def lookup(key: str) -> str:\n    return key\n'
    )
    code, errors = await site.fails("tools_only.py")
    assert code == 2
    assert errors.count("\n") == 1
    assert "tools lookup" in errors
    assert "@agent" in errors


async def test_a_module_that_cannot_be_imported_says_why_and_where(site: Site) -> None:
    (site.folder / "broken.py").write_text("import nothing_of_that_name\n")
    code, errors = await site.fails("broken.py")
    assert code == 2
    assert errors.count("\n") == 1
    assert "No module named 'nothing_of_that_name'" in errors
    assert "broken.py, line 1" in errors


async def test_a_module_that_is_not_there(site: Site) -> None:
    code, errors = await site.fails("absent.py")
    assert (code, errors.count("\n")) == (2, 1)
    assert "absent.py" in errors


async def test_an_agent_that_is_not_there(site: Site) -> None:
    code, errors = await site.fails("desk_agents.py", "--agent", "absent")
    assert (code, errors.count("\n")) == (2, 1)
    assert "agents works" in errors


async def test_usage(site: Site) -> None:
    code, errors = await site.fails("desk_agents.py", "--concurrency", "0")
    assert code == 2
    assert "at least 1" in errors


async def test_no_server_is_one_line_and_exit_3(site: Site, free_port: int) -> None:
    code, errors = await site.fails(WAYPOST_NATS_URL=f"nats://127.0.0.1:{free_port}", WAYPOST_START_SECONDS="0.5")
    assert code == 3
    last = errors.splitlines()[-1]
    assert last.startswith("waypost worker: cannot reach NATS")
    assert str(free_port) in last


async def test_a_refusal_is_one_line(site: Site, coordinator: StandIn) -> None:
    coordinator.refuse = "agent 'works': its schema changed under the same build"
    code, errors = await site.fails()
    assert code == 2
    assert "its schema changed under the same build" in errors.splitlines()[-1]


async def test_ops_endpoints(site: Site, coordinator: StandIn, free_port: int) -> None:
    async with site.worker(WAYPOST_OPS_ADDR=f"127.0.0.1:{free_port}"):
        await wait_until(lambda: coordinator.announced)
        await completed(coordinator.start("works", BUILD))
        ready = await _get(free_port, "/readyz")
        assert ready.startswith("HTTP/1.1 200"), ready
        metrics = await _get(free_port, "/metrics")
    assert "waypost_worker_activations_total 3" in metrics
    assert "waypost_worker_cache_hits_total 2" in metrics


async def _get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    text = (await reader.read()).decode()
    writer.close()
    return text
