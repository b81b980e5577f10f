"""What guards the gateway from its tools: delays for calls that seem to kill it, threads that cannot keep it alive."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from tests.unit.waypost_gateway.rig import Desktop, Rig
from tests.waiting import wait_until
from waypost import NotExecuted
from waypost_gateway import suspects
from waypost_gateway.suspects import MAX_DELAY_SECONDS, SUSPECT_AFTER, suspicion_seconds
from waypost_gateway.threads import ToolThreads
from waypost_proto.mailbox import ToolSucceeded


def test_delays_double_and_are_bounded() -> None:
    delays = [suspicion_seconds(SUSPECT_AFTER + n) for n in range(1, 40)]
    assert delays[:3] == [2.0, 4.0, 8.0]
    assert max(delays) == MAX_DELAY_SECONDS
    assert delays == sorted(delays)


async def test_a_read_that_was_delivered_too_often_is_held_back_and_then_runs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    desktop = Desktop()

    async def hang(ctx: object) -> None:
        await asyncio.Event().wait()

    desktop.behaviour["look"] = hang
    monkeypatch.setattr(suspects, "FIRST_DELAY_SECONDS", 0.3)
    call = rig.call("look")
    await rig.send(call)
    for number in range(SUSPECT_AFTER):
        async with rig.gateway(desktop, ack_wait_seconds=0.1) as running:
            await wait_until(lambda number=number: len(desktop.began) > number)
            await running.kill()
    del desktop.behaviour["look"]
    async with rig.gateway(desktop, ack_wait_seconds=0.1) as running:
        assert isinstance(await rig.answer(call), ToolSucceeded)
        metrics = running.metrics.registry.render()
    assert b"waypost_gateway_suspects_total 1" in metrics


async def test_plain_functions_run_side_by_side_and_past_the_limit_nothing_begins() -> None:
    threads = ToolThreads(3)
    barrier = threading.Barrier(4)
    busy = [threads.submit(barrier.wait, 10) for _ in range(3)]
    with pytest.raises(NotExecuted, match="no thread is free"):
        threads.submit(print)
    barrier.wait(10)
    for future in busy:
        await asyncio.wrap_future(future)
    assert await asyncio.wrap_future(threads.submit(pow, 2, 5)) == 32
    with pytest.raises(ZeroDivisionError):
        await asyncio.wrap_future(threads.submit(divmod, 1, 0))


def test_a_thread_that_hangs_does_not_keep_the_process() -> None:
    code = (
        "import asyncio, time\n"
        "from waypost_gateway.threads import ToolThreads\n"
        "async def main():\n"
        "    asyncio.get_running_loop().set_default_executor(ToolThreads(2))\n"
        "    task = asyncio.create_task(asyncio.to_thread(time.sleep, 3600))\n"
        "    await asyncio.sleep(0.05)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
