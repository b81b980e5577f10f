"""What waits in the queues of agents and tools: a look at JetStream that callers share, and what it says of each agent and tool.

Nobody's work waits for it: it is made when it is asked for, at most once in `KEEP_SECONDS`, and when JetStream does not answer nothing is
known. The gauges (`overview`) look by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from waypost_io.bus.ports import Bus, ConsumerLoad
from waypost_proto.api import QueueView
from waypost_proto.errors import WaypostError
from waypost_proto.subjects import ANY_WORKER, Subjects

log = structlog.get_logger(__name__)

KEEP_SECONDS = 1.0
PATIENCE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Lying:
    """One look at a stream: its consumers by filter subject, and how many messages lie on each subject."""

    consumers: Mapping[str, ConsumerLoad]
    messages: Mapping[str, int]

    def of_agent(self, subjects: Subjects, agent: str, workers: list[str]) -> list[QueueView]:
        """The queue of each build of an agent, then that of each of these workers, which is for every agent that it hosts."""
        found = {build: self._view("build", build, subject) for build, subject in self._builds(subjects, agent)}
        own = [self._view("worker", worker, subjects.work("*", "*", worker)) for worker in workers]
        return [*found.values(), *own]

    def of_tool(self, subjects: Subjects, tool: str) -> QueueView:
        """The queue of a tool."""
        return self._view("tool", tool, subjects.tool(tool))

    def _builds(self, subjects: Subjects, agent: str) -> Iterator[tuple[str, str]]:
        """(build, subject) of every queue of an agent's builds that somebody takes from, or in which something lies."""
        before = subjects.work(agent, "")[: -len(f".{ANY_WORKER}")]
        for subject in sorted({*self.consumers, *self.messages}):
            build, dot, who = subject.removeprefix(before).partition(".")
            if subject.startswith(before) and dot and who == ANY_WORKER:
                yield build, subject

    def _view(self, kind: str, name: str, subject: str) -> QueueView:
        consumer = self.consumers.get(subject)
        if consumer is None:  # nobody takes from it: everything that lies there waits
            return QueueView(kind=kind, name=name, pending=self.messages.get(subject, 0))  # type: ignore[arg-type]
        return QueueView(kind=kind, name=name, pending=consumer.pending, unacked=consumer.unacked)  # type: ignore[arg-type]


@dataclass(slots=True)
class _Look:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    at: float = float("-inf")
    found: Lying | None = None


class Queues:
    """The last look at each stream."""

    def __init__(self) -> None:
        self._looks: dict[str, _Look] = {}

    async def look(self, bus: Bus, stream: str, subject: str) -> Lying | None:
        """What lies in a stream, on the subjects that match; None when that is not known. Never raises for a bus that is away."""
        look = self._looks.setdefault(stream, _Look())
        clock = asyncio.get_running_loop().time
        async with look.lock:
            if clock() - look.at >= KEEP_SECONDS:
                look.found = await self._taken(bus, stream, subject)
                look.at = clock()
            return look.found

    async def _taken(self, bus: Bus, stream: str, subject: str) -> Lying | None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                load = await bus.load(stream)
                messages = await bus.subjects(stream, subject)
        except (WaypostError, TimeoutError) as error:
            log.info("queues_not_known", stream=stream, error=str(error))
            return None
        return None if load is None else Lying({each.filter_subject: each for each in load.consumers}, messages)
