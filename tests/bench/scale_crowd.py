"""Many runs at once: starts them with plain tasks, hears of their events, and signals them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

import msgspec

from tests.bench.driver import UNWANTED_ENDS, Stalled
from tests.bench.scale_stack import Stack
from tests.bench.scale_work import GO
from waypost.client import Client
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.ports import Message
from waypost_proto.ids import RunId, uuid7
from waypost_proto.subjects import Subjects

AT_ONCE = 250
STALL_SECONDS = 60.0
"""When nothing at all happens for so long, it is lost."""

Seen = Callable[[int], None]
"""Called with how many runs have come there."""


class Crowd:
    """Runs of one stack. Use as an async context manager; one thing at a time. Listens to events of these types."""

    def __init__(self, stack: Stack, *event_types: str) -> None:
        self._stack = stack
        self._event_types = event_types
        self._bus = JetStreamBus(stack.servers.nats.url, name="waypost-bench")
        self._client = Client(bus=self._bus, prefix=stack.prefix)
        self._subjects = Subjects(stack.prefix)
        self._awaited: set[RunId] = set()
        self._happened = asyncio.Event()
        self._unwanted = ""

    async def __aenter__(self) -> Self:
        await self._bus.__aenter__()
        await self._client.__aenter__()
        for event_type in (*self._event_types, *UNWANTED_ENDS):
            await self._bus.subscribe(f"{self._subjects.prefix}.events.*.*.{event_type}", self._on_event)
        await self._bus.flush()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.__aexit__(kind, error, trace)
        await self._bus.__aexit__(kind, error, trace)

    async def start(self, agent: str, inputs: Sequence[object], seen: Seen = lambda _: None) -> list[RunId]:
        """Start a run for each input and wait until each has had one event that is listened to. Raises `Stalled`."""
        run_ids = [new_run_id() for _ in inputs]
        self._awaited = set(run_ids)
        for at in range(0, len(run_ids), AT_ONCE):
            pairs = zip(run_ids[at : at + AT_ONCE], inputs[at : at + AT_ONCE], strict=True)
            await asyncio.gather(*(self._submit(agent, run_id, value) for run_id, value in pairs))
        await self._all_come(len(run_ids), seen)
        return run_ids

    async def go(self, run_ids: Iterable[RunId]) -> None:
        """Signal these runs and wait until each has had one event that is listened to. Raises `Stalled`."""
        waiting = list(run_ids)
        self._awaited = set(waiting)
        await asyncio.gather(*(self._client.signal(run_id, GO, 1) for run_id in waiting))
        await self._all_come(len(waiting), lambda _: None)

    async def in_flight(self, agent: str, runs: int, value: object, at_once: int) -> float:
        """So many runs with `at_once` in flight; seconds from the first task to the last end."""
        started = time.perf_counter()
        left = runs
        self._awaited = set()
        while left or self._awaited:
            while left and len(self._awaited) < at_once:
                run_id = new_run_id()
                self._awaited.add(run_id)
                await self._submit(agent, run_id, value)
                left -= 1
            await self._something()
        return time.perf_counter() - started

    async def _submit(self, agent: str, run_id: RunId, value: object) -> None:
        key = os.urandom(12).hex()  # without an order, as people's keys have none: what it costs in a large index is part of the cost
        task = msgspec.json.encode({"input": value, "run_id": run_id, "idempotency_key": key})
        await self._bus.publish(self._subjects.task(agent), task, msg_id=run_id)

    async def _all_come(self, of: int, seen: Seen) -> None:
        while self._awaited:
            await self._something()
            seen(of - len(self._awaited))

    async def _something(self) -> None:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                await self._happened.wait()
        except TimeoutError:
            raise Stalled(f"{len(self._awaited)} runs of {self._stack.prefix!r} did not go on for {STALL_SECONDS:g} s") from None
        self._happened.clear()
        if self._unwanted:
            raise Stalled(self._unwanted)

    async def _on_event(self, message: Message) -> None:
        _, _, _, run_id, event_type = message.subject.split(".")
        if event_type in UNWANTED_ENDS and event_type not in self._event_types:
            self._unwanted = f"run {run_id} of {self._stack.prefix!r} came to {event_type}: {message.body[:500]!r}"
        self._awaited.discard(RunId(run_id))
        self._happened.set()


def new_run_id() -> RunId:
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))
