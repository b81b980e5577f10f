"""Local effects as tasks: bounded, timed, cancelled, and whatever they raise is data."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.waiting import wait_until
from waypost.execution import EffectResult, LocalEffect
from waypost_proto.ids import CallId
from waypost_worker.effects import EffectRunner
from waypost_worker.run_effects import RunEffects


def effect(name: str, body: Callable[[], Awaitable[bytes]]) -> LocalEffect:
    return LocalEffect(CallId(name), name, body)


async def test_results_failures_and_time() -> None:
    results: dict[str, EffectResult] = {}

    async def good() -> bytes:
        return b"1"

    async def bad() -> bytes:
        raise ValueError("x" * 20_000)

    async def leaves() -> bytes:
        raise SystemExit(1)

    async def interrupts() -> bytes:
        raise KeyboardInterrupt

    async with EffectRunner(10) as runner:
        for body in (good, bad, leaves, interrupts):
            runner.start(effect(body.__name__, body), lambda result: results.__setitem__(result.call_id, result))
        await wait_until(lambda: len(results) == 4)
        assert runner.running == 0
    assert (results["good"].result, results["good"].error) == (b"1", None)
    assert results["good"].at > 1_000_000_000
    failed = results["bad"].error
    assert failed is not None
    assert failed.type == "ValueError"
    assert len(failed.message) < 10_000
    assert failed.message.endswith("(cut)")
    for name, kind in (("leaves", "SystemExit"), ("interrupts", "KeyboardInterrupt")):
        error = results[name].error
        assert error is not None
        assert error.type == kind


async def test_no_more_than_the_limit_at_one_time() -> None:
    now = most = ended = 0
    release = asyncio.Event()

    async def counted() -> bytes:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await release.wait()
        now -= 1
        return b"null"

    def done(_: EffectResult) -> None:
        nonlocal ended
        ended += 1

    async with EffectRunner(3) as runner:
        for number in range(10):
            runner.start(effect(str(number), counted), done)
        await wait_until(lambda: now == 3)
        assert runner.running == 10
        release.set()
        await wait_until(lambda: ended == 10)
    assert most == 3


async def endless() -> bytes:
    await asyncio.Event().wait()
    return b"null"


async def test_leaving_cancels_and_reports_nothing() -> None:
    results: list[EffectResult] = []
    async with EffectRunner(3) as runner:
        runner.start(effect("endless", endless), results.append)
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert results == []


async def test_what_the_code_gives_up_is_reported_as_cancelled_started_or_not() -> None:
    results: list[EffectResult] = []
    async with EffectRunner(3) as runner:
        effects = RunEffects(runner, lambda: 5.0, results.append)
        begun, waiting = effect("begun", endless), effect("waiting", endless)
        effects.want(begun)
        assert (effects.wanted, effects.in_flight) == (1, 0)
        assert effects.start()
        effects.want(waiting)
        begun.drop()
        waiting.drop()
        effects.start()
        await wait_until(lambda: len(results) == 2)
        assert (effects.wanted, effects.in_flight) == (0, 0)
    assert [(result.call_id, result.error.type) for result in results if result.error] == [("waiting", "Cancelled"), ("begun", "Cancelled")]


async def test_a_dropped_run_hears_nothing() -> None:
    results: list[EffectResult] = []
    async with EffectRunner(3) as runner:
        effects = RunEffects(runner, lambda: 5.0, results.append)
        effects.want(effect("begun", endless))
        effects.start()
        effects.want(effect("waiting", endless))
        effects.drop()
        effects.cancel(CallId("begun"))
        await wait_until(lambda: runner.running == 0)
        assert not effects.start()
    assert results == []


@pytest.mark.parametrize("count", [1, 5])
async def test_a_step_in_a_thread_does_not_hold_up_the_loop(count: int) -> None:
    ended: list[EffectResult] = []

    async def threaded() -> bytes:
        return await asyncio.to_thread(lambda: b"7")

    async with EffectRunner(2) as runner:
        for number in range(count):
            runner.start(effect(str(number), threaded), ended.append)
        await wait_until(lambda: len(ended) == count)
    assert {result.result for result in ended} == {b"7"}
