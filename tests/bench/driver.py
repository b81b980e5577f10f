"""Starts runs and waits for their ends, as a client on plain messages: a task in, `run_completed` out. The same for both sides."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from tests.bench.work import AGENT
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.ports import Message
from waypost_proto.ids import RunId, uuid7
from waypost_proto.subjects import Subjects

STALL_SECONDS = 30.0
"""A run that takes longer is lost, and so is the bench."""
UNWANTED_ENDS = ("run_failed", "run_cancelled", "run_paused")


class Stalled(Exception):
    """A run did not end, or not as it should."""


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Runs that were made together."""

    seconds: float
    """From the first task to the last end."""
    latencies_ms: list[float]
    """Of each run, in the order of their ends: from before its task was published to the arrival of its end."""


class Driver:
    """Use as an async context manager. One batch of runs at a time."""

    def __init__(self, nats_url: str, prefix: str, *, run_timeout_seconds: float = STALL_SECONDS) -> None:
        self._bus = JetStreamBus(nats_url, name="waypost-bench")
        self._subjects = Subjects(prefix)
        self._timeout_seconds = run_timeout_seconds
        self._open: dict[RunId, float] = {}
        """When each was submitted."""
        self._ended: asyncio.Queue[tuple[RunId, str, float]] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        await self._bus.__aenter__()
        for event_type in ("run_completed", *UNWANTED_ENDS):
            await self._bus.subscribe(f"{self._subjects.prefix}.events.*.*.{event_type}", self._on_end)
        await self._bus.flush()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._bus.__aexit__(kind, error, trace)

    async def in_flight(self, runs: int, steps: int, at_once: int, on_progress: Callable[[int], None]) -> float:
        """Run so many with `at_once` in flight; the seconds from the first task to the last end."""
        return (await self.batch(runs, steps, at_once, on_progress)).seconds

    async def batch(self, runs: int, steps: int, at_once: int, on_progress: Callable[[int], None] = lambda _done: None) -> Batch:
        """Run so many with `at_once` in flight: a new one as each ends. Raises `Stalled`."""
        latencies = []
        started = time.perf_counter()
        try:
            async with asyncio.TaskGroup() as submitting:  # a task's ack is not waited for before the next is published
                for _ in range(min(runs, at_once)):
                    submitting.create_task(self._submit(steps))
                for done in range(1, runs + 1):
                    _, seconds = await self._next_end()
                    latencies.append(1e3 * seconds)
                    if done <= runs - at_once:
                        submitting.create_task(self._submit(steps))
                    on_progress(done)
        except* Stalled as stalled:
            raise stalled.exceptions[0] from None
        return Batch(seconds=time.perf_counter() - started, latencies_ms=latencies)

    async def one_after_another(self, runs: int, steps: int, on_progress: Callable[[int], None]) -> list[float]:
        """Run so many, each after the end of the one before; the seconds that each took."""
        seconds = []
        for done in range(1, runs + 1):
            started = time.perf_counter()
            await self.one(steps)
            seconds.append(time.perf_counter() - started)
            on_progress(done)
        return seconds

    async def one(self, steps: int) -> RunId:
        """One run from task to end. Raises `Stalled`."""
        run_id = await self._submit(steps)
        ended, _ = await self._next_end()
        if ended != run_id:
            raise Stalled(f"run {ended} ended while only {run_id} was in flight")
        return run_id

    async def _submit(self, steps: int) -> RunId:
        run_id = uuid7(time.time_ns() // 1_000_000, os.urandom(10))
        self._open[run_id] = time.perf_counter()
        task = msgspec.json.encode({"input": steps, "run_id": run_id})
        await self._bus.publish(self._subjects.task(AGENT), task, msg_id=run_id)
        return run_id

    async def _next_end(self) -> tuple[RunId, float]:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                run_id, event_type, seconds = await self._ended.get()
        except TimeoutError:
            raise Stalled(f"no run of {self._subjects.prefix!r} ended for {self._timeout_seconds:g} s; see the services' logs") from None
        if event_type != "run_completed":
            raise Stalled(f"run {run_id} of {self._subjects.prefix!r} came to {event_type}, not to run_completed")
        return run_id, seconds

    async def _on_end(self, message: Message) -> None:
        _, _, _, run_id, event_type = message.subject.split(".")
        submitted = self._open.pop(RunId(run_id), None)
        if submitted is not None:  # else another driver is at work under this prefix
            self._ended.put_nowait((RunId(run_id), event_type, time.perf_counter() - submitted))
