"""The `waypost` command as a process of its own, against the API on a real server."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.api.rig import Desk
from tests.waiting import wait_until
from waypost_proto import events as ev
from waypost_proto.ids import CallId, RunId
from waypost_proto.values import Mark


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


class Shell:
    """Runs `waypost` with the environment of one installation."""

    def __init__(self, nats_url: str, prefix: str, folder: Path) -> None:
        self._folder = folder
        self.environment = {**os.environ, "WAYPOST_NATS_URL": nats_url, "WAYPOST_PREFIX": prefix, "USER": "ann", "COLUMNS": "200"}
        self.environment.pop("LOGNAME", None)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "waypost_cli", *arguments),
            cwd=self._folder,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *arguments: str) -> Done:
        process = await self.start(*arguments)
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())


@pytest.fixture
def shell(nats_url: str, desk: Desk, tmp_path: Path) -> Shell:
    return Shell(nats_url, desk.subjects.prefix, tmp_path)


async def test_a_run_from_its_start_to_its_end(shell: Shell, desk: Desk) -> None:
    waiting = await shell.start("run", "desk", "--input", '{"id": 1}', "--wait")
    await wait_until(lambda: desk.submitted)
    run_id = RunId(desk.submitted[0].run_id)
    listed = await shell("runs", "list", "--json")
    assert [run["run_id"] for run in json.loads(listed.out)] == [run_id]
    paused = await shell("runs", "pause", run_id, "--reason", "look")
    assert (paused.code, paused.out) == (0, f"{run_id}  paused\n")
    assert "someone to resume it (paused: look)" in (await shell("runs", "show", run_id)).out
    assert (await shell("runs", "resume", run_id, "--max-steps", "7")).code == 0
    mark = Mark(digest="d", seen=1, worker="w-1")
    await desk.play(run_id, ev.RunCompleted(result=Raw(b'{"risk":0.2}'), seen=1, mark=mark))
    out, err = await waiting.communicate()
    assert (waiting.returncode, out) == (0, b'{"risk":0.2}\n')
    assert b"run_resumed" in err
    events = [json.loads(line) for line in (await shell("runs", "events", run_id, "--json")).out.splitlines()]
    assert [event["type"] for event in events] == ["run_started", "run_paused", "run_resumed", "run_completed"]
    assert events[1]["data"]["by"] == "ann"


async def test_refusals_are_exit_1_and_one_line(shell: Shell, desk: Desk) -> None:
    run_id = await desk.started()
    assert (await shell("runs", "cancel", run_id)).code == 0
    refused = await shell("runs", "signal", run_id, "go")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.count("\n") == 1
    assert "already been cancelled" in refused.err


async def test_a_reader_that_goes_away_is_no_error(shell: Shell, desk: Desk) -> None:
    run_id = await desk.started()
    large = Raw(b'"' + b"x" * 50_000 + b'"')
    state = ev.StateChanged(value=large, seen=1)
    await desk.play(run_id, *(state for _ in range(40)))
    process = await shell.start("runs", "events", run_id, "--json")
    assert process.stdout is not None
    await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert process.stderr is not None
    async with asyncio.timeout(30):
        assert await process.stderr.read() == b""
        assert await process.wait() == 0


async def test_ctrl_c_ends_a_watch_without_a_word(shell: Shell, desk: Desk) -> None:
    run_id = await desk.started()
    process = await shell.start("runs", "watch", run_id)
    assert process.stderr is not None
    assert b"run_started" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        assert await process.stderr.read() == b""
        assert await process.wait() == 130


async def test_a_terminal_shows_what_a_run_waits_for(shell: Shell, desk: Desk) -> None:
    run_id = await desk.started()
    ours, theirs = pty.openpty()
    shown = bytearray()
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, lambda: shown.extend(os.read(ours, 65_536)))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "waypost_cli", "runs", "watch", run_id),
            env={**shell.environment, "TERM": "xterm"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=theirs,
        )
        await wait_until(lambda: b"a worker for agent desk" in shown)
        mark = Mark(digest="d", seen=1, worker="w-1")
        await desk.play(run_id, ev.SignalAwaited(call_id=CallId("0:1"), name="papers", seen=1, mark=mark))
        await wait_until(lambda: b"signal 'papers'" in shown)
        await desk.play(run_id, ev.RunCompleted(result=Raw(b"7"), seen=1, mark=mark))
        out, _ = await process.communicate()
        assert (process.returncode, out) == (0, b"7\n")
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        os.close(theirs)


@pytest.mark.slow
async def test_without_a_coordinator_it_is_exit_3(nats_url: str, prefix: str, tmp_path: Path) -> None:
    done = await Shell(nats_url, prefix, tmp_path)("runs", "list")
    assert done.code == 3
    assert done.err.count("\n") == 1
    assert "no coordinator answers" in done.err
