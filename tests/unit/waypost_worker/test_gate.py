"""The bound on local effects at once: order, and that no place is lost when somebody who waits is cancelled."""

from __future__ import annotations

import asyncio

import pytest

from waypost_worker.effects import Gate


def test_no_more_than_the_limit_enter() -> None:
    gate = Gate(2)
    assert [gate.enter(), gate.enter(), gate.enter()] == [True, True, False]
    gate.leave()
    assert gate.enter()


async def test_places_are_given_in_the_order_of_the_waiting() -> None:
    gate, order = Gate(1), []

    async def take(name: str) -> None:
        if not gate.enter():
            await gate.turn()
        order.append(name)
        await asyncio.sleep(0)
        gate.leave()

    await asyncio.gather(*(take(name) for name in "abcd"))
    assert order == ["a", "b", "c", "d"]
    assert gate.enter()


@pytest.mark.parametrize("given", [False, True])
async def test_whoever_is_cancelled_while_waiting_has_no_place(given: bool) -> None:
    gate = Gate(1)
    assert gate.enter()
    waiting = asyncio.ensure_future(gate.turn())
    await asyncio.sleep(0)
    if given:
        gate.leave()  # in the same turn of the loop as the cancellation
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not given:
        gate.leave()
    assert gate.enter()
    assert not gate.enter()
