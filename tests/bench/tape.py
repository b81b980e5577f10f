"""A tape of one real run: the size of every message and row that it took. The floor plays it back with no logic."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import msgspec

from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.ports import Message
from waypost_proto.ids import RunId
from waypost_proto.subjects import Subjects

QUIET_SECONDS = 0.2
"""The last events of a run arrive within it."""
LOOK_SECONDS = 0.001
_ENDS_COMMIT = frozenset({"run_started", "tool_call_requested", "tool_call_completed", "run_completed"})
"""The event with which each commit of this work ends."""
_MSG_ID = "Nats-Msg-Id"


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of message: mean body size, and the headers besides the message id."""

    body_bytes: int
    headers: dict[str, str]
    whole_bytes: int
    """Mean of subject, headers and body."""


class EventShape(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `events`."""

    type: str
    body_bytes: int
    cause_bytes: int


class Tape(msgspec.Struct, frozen=True, kw_only=True):
    """One run of `steps` steps: 2 × `steps` + 2 commits, for the task, each advance and each result."""

    steps: int
    frames: dict[str, Frame]
    """By the subject's second token: `mailbox` is split into `advance` and `result`."""
    commits: list[list[EventShape]]
    state_bytes: int
    """Mean while the run was under way."""

    @property
    def stream_bytes_per_step(self) -> float:
        """Subjects, headers and bodies that a step puts into streams."""
        events = sum(len(commit) for commit in self.commits[1:3])
        queues = sum(self.frames[kind].whole_bytes for kind in ("advance", "tools", "result", "work"))
        return queues + events * self.frames["events"].whole_bytes


async def record(nats_url: str, prefix: str, postgres_url: str, steps: int, run: Callable[[], Awaitable[RunId]]) -> Tape:
    """Listen while `run` makes one run, then read its rows. Raises `ValueError` when the run is not of the known form."""
    seen: dict[str, list[tuple[int, Message]]] = {}

    async def on_message(message: Message) -> None:
        kind = _kind_of(message.subject)
        extra = sum(len(name) + len(value) + 4 for name, value in message.headers.items())
        seen.setdefault(kind, []).append((len(message.subject) + extra + len(message.body), message))

    async with JetStreamBus(nats_url, name="waypost-bench-tape") as bus, AsyncExitStack() as stack:
        for subject in _streams(prefix):
            subscription = await bus.subscribe(subject, on_message)
            stack.push_async_callback(subscription.close)
        await bus.flush()
        async with _state_sizes(postgres_url) as sizes:
            run_id = await run()
        await asyncio.sleep(QUIET_SECONDS)  # the events behind the last one; their number is checked against the rows
        await bus.flush()
    commits = await _commits(postgres_url, run_id)
    events = sum(len(commit) for commit in commits)
    counted = {kind: len(messages) for kind, messages in seen.items()}
    expected = {"tasks": 1, "work": steps + 1, "advance": steps + 1, "tools": steps, "result": steps, "events": events}
    if counted != expected or len(commits) != 2 * steps + 2:
        raise ValueError(f"a run of {steps} steps took {counted} messages and {len(commits)} commits; the floor plays {expected}")
    frames = {kind: _frame(messages) for kind, messages in seen.items()}
    return Tape(steps=steps, frames=frames, commits=commits, state_bytes=round(statistics.mean(sizes)))


def _streams(prefix: str) -> list[str]:
    subjects = Subjects(prefix)
    return [subjects.all_tasks(), subjects.all_mail(), subjects.all_work(), subjects.all_tools(), subjects.all_events()]


def _kind_of(subject: str) -> str:
    _, kind, *rest = subject.split(".")
    return rest[0] if kind == "mailbox" else kind


def _frame(messages: list[tuple[int, Message]]) -> Frame:
    return Frame(
        body_bytes=round(statistics.mean(len(message.body) for _, message in messages)),
        headers={name: value for name, value in messages[-1][1].headers.items() if name != _MSG_ID},
        whole_bytes=round(statistics.mean(size for size, _ in messages)),
    )


@asynccontextmanager
async def _state_sizes(postgres_url: str) -> AsyncIterator[list[int]]:
    """The folded state's size again and again while a run is under way: at its end it is smaller."""
    sizes: list[int] = []
    connection = await asyncpg.connect(postgres_url)

    async def look() -> None:
        while True:
            sizes.extend(row[0] for row in await connection.fetch("SELECT octet_length(state) FROM runs WHERE open"))
            await asyncio.sleep(LOOK_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield sizes
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        connection.terminate()


async def _commits(postgres_url: str, run_id: RunId) -> list[list[EventShape]]:
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch(
            "SELECT type, octet_length(data) AS body, octet_length(cause) AS cause FROM events WHERE run_id = $1 ORDER BY seq", run_id
        )
    finally:
        await connection.close()
    commits: list[list[EventShape]] = [[]]
    for row in rows:
        commits[-1].append(EventShape(type=row["type"], body_bytes=row["body"], cause_bytes=row["cause"]))
        if row["type"] in _ENDS_COMMIT:
            commits.append([])
    return commits[:-1]
