"""Threads of plain steps: bounded, in order, and no reason for a process to stay."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from tests.waiting import wait_until
from waypost_worker.threads import StepThreads


async def test_no_more_than_the_limit_and_the_rest_in_order() -> None:
    threads = StepThreads(2)
    release = threading.Event()
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        release.wait(10)
        return number

    futures = [asyncio.wrap_future(threads.submit(work, number)) for number in range(5)]
    await wait_until(lambda: len(begun) == 2)
    given_up = threads.submit(work, 99)
    assert given_up.cancel()
    release.set()
    assert await asyncio.gather(*futures) == [0, 1, 2, 3, 4]
    assert begun[2:] == [2, 3, 4]
    assert await asyncio.wrap_future(threads.submit(work, 7)) == 7, "idle threads have ended; a new one begins"


async def test_what_a_function_raises_is_the_callers() -> None:
    def leaves() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        StepThreads(1).submit(leaves).result(10)


def test_a_process_does_not_wait_for_them() -> None:
    code = (
        "import asyncio, time\n"
        "from waypost_worker.threads import StepThreads\n"
        "async def main():\n"
        "    asyncio.get_running_loop().set_default_executor(StepThreads(4))\n"
        "    task = asyncio.ensure_future(asyncio.to_thread(time.sleep, 600))\n"
        "    await asyncio.sleep(0.05)\n"
        "    task.cancel()\n"
        "asyncio.run(main())\n"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 0
