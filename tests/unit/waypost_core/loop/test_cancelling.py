"""What a cancellation does that comes together with something else is the same on every Python."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from waypost_core.loop import DeterministicLoop


class Hooks:
    """Nobody is told of timers."""

    def start_timer(self, timer_id: str, fire_at: float) -> None: ...
    def cancel_timer(self, timer_id: str) -> None: ...
    def unhandled(self, context: dict[str, Any]) -> None: ...


def live(body: Coroutine[Any, Any, None]) -> None:
    loop: Any = DeterministicLoop(Hooks(), seed="run")
    root = loop.start(body)
    loop.run_until_quiescent()
    root.result()


def test_row_18_errors_of_a_group_go_before_a_cancellation() -> None:
    """As up to CPython 3.12. From 3.13 on asyncio's own cancels the task again, which tasks before that cannot take back."""
    told: list[str] = []

    async def inner() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(50))
                raise ValueError  # noqa: TRY301 - in the body of the group, on purpose
        except* ValueError:
            told.append("failed")
        await asyncio.sleep(0)
        told.append("went on")

    async def body() -> None:
        task = asyncio.create_task(inner())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        told.append(f"cancelled: {task.cancelled()}, {task.cancelling()}")

    live(body())
    assert told == ["failed", "went on", "cancelled: False, 1"]


def test_row_18_a_cancellation_that_is_under_way_is_not_taken_back() -> None:
    told: list[object] = []

    async def body() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        told.append(task.uncancel())
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            told.append("cancelled all the same")

    live(body())
    assert told == [0, "cancelled all the same"]


def test_row_18_a_notification_is_passed_on_by_who_is_cancelled() -> None:
    """As from CPython 3.13 on, for conditions; semaphores serve who came first."""
    told: list[str] = []

    async def waits(bell: asyncio.Condition, name: str) -> None:
        async with bell:
            await bell.wait()
            told.append(name)

    async def body() -> None:
        bell, turns = asyncio.Condition(), asyncio.Semaphore(1)
        first, second = asyncio.create_task(waits(bell, "first")), asyncio.create_task(waits(bell, "second"))
        await asyncio.sleep(0)
        async with bell:
            bell.notify()
        first.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await turns.acquire()
        waiting = asyncio.create_task(turns.acquire())
        await asyncio.sleep(0)
        turns.release()
        told.append(f"free: {not turns.locked()}")
        await waiting

    live(body())
    assert told == ["second", "free: False"]
