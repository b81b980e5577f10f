"""Activations that may be what kills workers: late, one after another, and nobody else is held up (CORRECTNESS.md row 14)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tests.waiting import wait_until
from waypost_proto.ids import RunId
from waypost_worker.suspects import Suspects
from waypost_worker.tuning import Tuning


def delivery(times: int) -> Any:
    return SimpleNamespace(delivered=times, in_progress=lambda: None)


def activation(number: int) -> Any:
    return SimpleNamespace(run_id=RunId(f"run-{number}"), agent="clerk")


async def test_row_14_suspects_come_late_and_alone() -> None:
    delays: list[float] = []
    begun: list[str] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)

    def begin(_: Any, one: Any) -> None:
        begun.append(one.run_id)

    suspects = Suspects(replace(Tuning(), suspect_after=2, suspect_max_seconds=8.0), sleep)
    tasks = [asyncio.create_task(suspects.take(delivery(times), activation(times), begin)) for times in (3, 4, 9)]
    await wait_until(lambda: begun == ["run-3"])
    assert suspects.waiting == 2
    suspects.rested(SimpleNamespace(run_id="another"))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert begun == ["run-3"]
    suspects.rested(SimpleNamespace(run_id="run-3"))  # type: ignore[arg-type]
    await wait_until(lambda: begun == ["run-3", "run-4"])
    suspects.rested(SimpleNamespace(run_id="run-4"))  # type: ignore[arg-type]
    await wait_until(lambda: begun == ["run-3", "run-4", "run-9"])
    suspects.rested(SimpleNamespace(run_id="run-9"))  # type: ignore[arg-type]
    await asyncio.gather(*tasks)
    assert delays == [1.0, 2.0, 8.0]
    assert suspects.waiting == 0
