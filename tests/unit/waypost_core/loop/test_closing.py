"""Eviction: code that is closed is muted first, whatever its `finally` blocks try (CORRECTNESS.md row 18)."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from tests.unit.waypost_core.loop.test_loop import Rig
from waypost_core.loop import Evicted


def test_row_18_finally_blocks_run_muted() -> None:
    rig = Rig()
    seen: list[str] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("child")
            await asyncio.sleep(5)
            seen.append("never")

    async def main() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await asyncio.sleep(100)
        finally:
            seen.append("root")
            asyncio.create_task(child())  # noqa: RUF006 - it is refused
            seen.append("never")

    rig.run(main())
    told = list(rig.hooks.told)
    rig.loop.close()
    rig.loop.close()
    assert sorted(seen) == ["child", "root"]
    assert rig.hooks.told == told
    assert rig.loop.muted


def test_code_that_awaits_again_is_thrown_out_again() -> None:
    rig = Rig()
    attempts: list[int] = []

    async def main() -> None:
        futures = [rig.loop.create_future() for _ in range(3)]
        for future in futures:
            try:
                await future
            except GeneratorExit:
                attempts.append(1)

    rig.run(main())
    rig.loop.close()
    assert len(attempts) == 3


def test_pending_tasks_make_no_noise(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> None:
    rig = Rig()

    async def never() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        tasks = [asyncio.create_task(never()) for _ in range(3)]
        asyncio.create_task(never())  # noqa: RUF006 - a task nobody keeps must live on all the same
        await asyncio.gather(*tasks)

    rig.run(main())
    gc.collect()
    rig.loop.close()
    del rig
    gc.collect()
    assert caplog.records == []
    assert capsys.readouterr().err == ""


def test_what_a_closed_loop_is_asked_for_raises_evicted() -> None:
    rig = Rig()
    rig.run(asyncio.sleep(1))
    rig.loop.close()
    with pytest.raises(Evicted):
        rig.loop.create_future()
    with pytest.raises(Evicted):
        rig.loop.call_later(1, print)
    coroutine = asyncio.sleep(0)
    with pytest.raises(Evicted):
        rig.loop.create_task(coroutine)
    assert rig.loop.call_soon(print).cancelled()
    rig.loop.run_until_quiescent()


def test_row_18_a_generator_dropped_by_the_code_is_closed_in_the_run() -> None:
    rig = Rig()
    seen: list[str] = []

    async def numbers() -> Any:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(3)
            seen.append("closed")

    async def main() -> None:
        async for _ in numbers():
            break
        await asyncio.sleep(100)

    rig.run(main())
    assert ("start", "g1:1", 103.0) in rig.hooks.told
    rig.fire("g1:1")
    assert seen == ["closed"]
    rig.loop.close()


def test_row_18_a_generator_that_the_collector_finds_waits_for_the_end() -> None:
    rig = Rig()
    seen: list[str] = []

    async def numbers() -> Any:
        try:
            yield 1
        finally:
            seen.append("closing")
            await asyncio.sleep(3)
            seen.append("never")

    async def main() -> None:
        generator = numbers()
        await anext(generator)
        cycle: list[Any] = [generator]
        cycle.append(cycle)
        del generator, cycle
        await asyncio.sleep(100)

    rig.run(main())
    told = list(rig.hooks.told)
    gc.collect()
    rig.loop.run_until_quiescent()
    assert seen == []
    assert rig.hooks.told == told
    rig.loop.close()
    assert seen == ["closing"]
    assert rig.hooks.told == told


def test_the_collector_is_off_during_a_slice() -> None:
    rig = Rig()

    async def main() -> bool:
        return gc.isenabled()

    assert rig.run(main()) is False
    assert gc.isenabled()
    rig.loop.close()
