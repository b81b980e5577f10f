"""Signals and exit codes are properties of a process, so most of these run one."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE

import pytest

from tests.waiting import wait_until
from waypost_io.lifecycle import EXIT_FAILED, EXIT_SETTINGS, EXIT_UNREACHABLE, Stop, exit_code
from waypost_proto.errors import Misconfigured, NotFound, Unreachable

PROGRAM = """
import asyncio
from waypost_io import lifecycle
from waypost_io.lifecycle import Stop, run_service
from waypost_proto.errors import Misconfigured, Unreachable

async def serve(stop: Stop) -> None:
    print("up", flush=True)
    {body}

lifecycle.CANCEL_SECONDS = 0.3
raise SystemExit(run_service("demo", serve, drain_seconds={drain}))
"""


async def _run(body: str, *signals: signal.Signals, drain: float = 30.0) -> tuple[int, str, str]:
    program = PROGRAM.format(body=body.replace("\n", "\n    "), drain=drain)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE, stderr=PIPE, env={})
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"up\n"
        for number in signals:
            process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_to_finish(number: signal.Signals) -> None:
    assert (await _run("await stop.wait()\nprint('drained', stop.reason)", number))[:2] == (0, f"drained {number.name}\n")


async def test_a_drain_past_its_bound_is_cancelled() -> None:
    body = "try:\n    await asyncio.Event().wait()\nfinally:\n    print('cancelled')"
    assert (await _run(body, signal.SIGTERM, drain=0.1))[:2] == (0, "cancelled\n")


async def test_the_bound_comes_from_the_environment() -> None:
    program = PROGRAM.format(body="await asyncio.Event().wait()", drain=None)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=PIPE, stderr=PIPE, env={"WAYPOST_DRAIN_SECONDS": "0.1"}
    )
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 0
    assert b'"drain_seconds":0.1' in err


async def test_whatever_swallows_the_cancellation_is_ended() -> None:
    body = "while True:\n    try:\n        await asyncio.sleep(9)\n    except asyncio.CancelledError:\n        pass"
    assert (await _run(body, signal.SIGTERM, drain=0.1))[0] == EXIT_FAILED


async def test_a_second_signal_cancels_at_once() -> None:
    body = "await stop.wait()\nprint('drains', flush=True)\nawait asyncio.Event().wait()"
    program = PROGRAM.format(body=body.replace("\n", "\n    "), drain=300)
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=PIPE, stderr=PIPE, env={})
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert await process.stdout.readline() == b"drains\n"
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ('Unreachable("no NATS at nats://u:p@h;\\n start it")', EXIT_UNREACHABLE, "waypost demo: no NATS at nats://***@h; start it\n"),
        ('Misconfigured("A=1: no\\nB=2: no")', EXIT_SETTINGS, "waypost demo: A=1: no\nwaypost demo: B=2: no\n"),
        ('ExceptionGroup("tasks", [Unreachable("gone"), Unreachable("gone")])', EXIT_UNREACHABLE, "waypost demo: gone\n"),
    ],
)
async def test_what_the_operator_can_mend_is_one_line(error: str, code: int, line: str) -> None:
    assert await _run(f"raise {error}") == (code, "", line)


async def test_a_bug_shows_its_traceback() -> None:
    code, _, err = await _run("raise KeyError('x')")
    assert code == EXIT_FAILED
    assert "Traceback" in err


async def test_tasks_can_be_looked_at() -> None:
    body = "asyncio.current_task().set_name('the-main-task')\nawait stop.wait()"
    code, _, err = await _run(body, signal.SIGUSR1, signal.SIGTERM)
    assert code == 0
    assert "the-main-task" in err


async def test_bad_logging_settings_end_with_their_code() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM.format(body="pass", drain=1), stderr=PIPE, env={"WAYPOST_LOG_LEVEL": "loud"}
    )
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (
        EXIT_SETTINGS,
        "waypost demo: WAYPOST_LOG_LEVEL='loud': use one of debug, info, warning, error\n",
    )


def test_a_group_means_the_worst_of_its_leaves() -> None:
    gone, wrong = Unreachable("x"), Misconfigured("y")
    assert exit_code(ExceptionGroup("g", [gone, ExceptionGroup("h", [wrong])])) == EXIT_SETTINGS
    assert exit_code(ExceptionGroup("g", [gone, NotFound("z")])) == EXIT_FAILED


async def test_stop_keeps_the_first_reason_and_sleep_ends_early() -> None:
    stop = Stop()
    assert not await stop.sleep(0)
    async with asyncio.TaskGroup() as tasks:
        sleeper = tasks.create_task(stop.sleep(3_600))
        stop.request("first")
        stop.request("second")
    assert sleeper.result()
    assert stop.reason == "first"
    await wait_until(lambda: stop.requested)
