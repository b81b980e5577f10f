"""Long logs are read beside the pipeline: whoever decides never waits for one, and the loop is free between two slices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.rig import Parts, Replica, Site, new_run
from tests.waiting import wait_until
from waypost_coordinator.letters import Letter, Rederive
from waypost_coordinator.reading import PAGE, Reader
from waypost_core.state import ForkState
from waypost_io.store.ports import EventRow
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.errors import Unreachable
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import ForkRun, Pause, Resume
from waypost_proto.task import format_time
from waypost_proto.values import Mark

LONG = 8 * PAGE
BEGAN = 1_700_000_000.0


def log_of(run_id: RunId, count: int) -> dict[int, EventRow]:
    """A run that has looked something up again and again."""
    rows: dict[int, EventRow] = {}
    for seq in range(1, count + 1):
        call = CallId(f"0:{seq // 2}")
        data: ev.Data
        if seq == 1:
            data = ev.RunStarted(input=Raw(b"1"))
        elif seq % 2:
            data = ev.ToolCallCompleted(call_id=call, tool="look", attempt=1, result=Raw(b"2"))
        else:
            mark = Mark(digest=f"{seq:032x}", seen=seq - 1, worker="w9")
            data = ev.ToolCallRequested(
                seen=seq - 1, mark=mark, call_id=call, tool="look", args=Raw(b"{}"), args_digest="d", idempotency_key="k", effect="read"
            )
        kind, at = str(type(data).__struct_config__.tag), BEGAN + seq
        event = ev.Event(
            run_id=run_id, seq=seq, type=kind, agent="clerk", correlation_id=run_id, recorded_at=format_time(at), data=Raw(encode(data))
        )
        rows[seq] = EventRow(run_id, seq, kind, 0, 0, at, encode(event))
    return rows


async def test_a_long_log_is_copied_in_slices_and_published_in_order(desk: Site, replica: Replica) -> None:
    source, fork = new_run(), new_run()
    desk.database.events[source] = log_of(source, LONG + 1)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    ticking = asyncio.ensure_future(others())
    try:
        reply = await replica.submit(ForkRun(run_id=fork, source=source, seq=LONG + 1))
    finally:
        ticking.cancel()
    assert reply.ok, reply
    assert turns >= 2 * LONG // PAGE, "somebody else had a turn after each page that was read, and after each that was copied"
    assert desk.types(fork) == [*desk.types(source), "run_forked"]
    assert [row.position for row in desk.events(fork)] == list(range(1, LONG + 3))
    await wait_until(lambda: len(desk.published_events(fork)) == LONG + 2)
    assert desk.published_events(fork) == list(range(1, LONG + 3)), "a reader that goes by seq takes what comes late for a repeat"


async def test_other_runs_go_on_while_a_log_is_read(desk: Site, replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    source, fork = new_run(), new_run()
    desk.database.events[source] = log_of(source, 3)
    read, come = replica.store.log.load_events, asyncio.Event()
    failures = [Unreachable("the connection broke")]

    async def slow(run_id: RunId, **more: Any) -> list[EventRow]:
        if run_id == source:
            await come.wait()
            if failures:
                raise failures.pop()
        return await read(run_id, **more)

    monkeypatch.setattr(replica.store.log, "load_events", slow)
    monkeypatch.setattr("waypost_coordinator.reading.RETRY_SECONDS", 0.0)
    forking = asyncio.ensure_future(replica.submit(ForkRun(run_id=fork, source=source, seq=3)))
    await wait_until(lambda: len(replica.coordinator._pipeline._decider.reader) == 1)
    pausing = asyncio.ensure_future(replica.submit(Pause(run_id=fork, request_id="p")))
    other = await replica.start()
    await desk.until(other, "run_started")
    assert not forking.done()
    assert not pausing.done(), "what is said to the fork waits behind it"
    come.set()
    assert (await forking).ok, "a log that cannot be read now is read again"
    assert (await pausing).ok
    assert desk.types(fork) == ["run_started", "tool_call_requested", "tool_call_completed", "run_forked", "run_paused"]


async def test_what_waits_for_a_partition_that_is_lost_is_given_back(parts: Parts) -> None:
    reader = Reader(parts.ground, dict)
    letters = [parts.letter(ForkRun(run_id=new_run(partition), source=new_run(), seq=1)) for partition in (0, 1)]
    first, second = letters
    reader.ready(letters)
    assert (letters, len(reader)) == ([], 2)
    assert reader.remove([0]) == [first]
    reading = asyncio.ensure_future(reader.run())
    await wait_until(lambda: len(parts.ground.box) == 1)
    reading.cancel()
    assert parts.ground.box.take(9) == [second]
    assert len(reader) == 0
    assert reader.remove([1]) == [], "it is in the box, and that gives it back"


async def test_a_log_that_cannot_be_understood_is_its_letters_fault(parts: Parts) -> None:
    source = new_run()
    parts.store.database.events[source] = {1: EventRow(source, 1, "run_started", 0, 0, BEGAN, b"{")}
    reader = Reader(parts.ground, dict)
    letters: list[Letter] = [parts.letter(ForkRun(run_id=new_run(0), source=source, seq=1))]
    (letter,) = letters
    reader.ready(letters)
    reading = asyncio.ensure_future(reader.run())
    await wait_until(lambda: len(parts.ground.box) == 1)
    reading.cancel()
    read = reader.ready(parts.ground.box.take(1))
    assert list(read.failed) == [letter]


async def test_a_tape_that_misses_what_is_being_committed_is_read_again(desk: Site, replica: Replica) -> None:
    """Else an answer that the fork was given by a batch that is still being committed would be given once more."""
    source, fork = new_run(), new_run()
    desk.database.events[source] = log_of(source, 3)
    assert (await replica.submit(ForkRun(run_id=fork, source=source, seq=1))).ok
    live = replica.ground.runs.get(fork)
    assert live is not None
    assert isinstance(live.state.fork, ForkState)
    live.state.seq += 1  # decided, and not in the log yet
    reader = replica.coordinator._pipeline._decider.reader
    resuming = asyncio.ensure_future(replica.submit(Resume(run_id=fork, request_id="r")))
    await wait_until(lambda: len(reader) == 1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not resuming.done()
    live.state.seq -= 1
    assert (await resuming).ok


async def test_what_waits_to_be_derived_holds_the_published_position(desk: Site, replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """A take-over's order is known to memory alone: were the position moved past it, the next owner would not derive that work."""
    source, fork = new_run(), new_run(0)
    desk.database.events[source] = log_of(source, 3)
    assert (await replica.submit(ForkRun(run_id=fork, source=source, seq=1))).ok
    settler, reader, published = replica.coordinator._settler, replica.coordinator._pipeline._decider.reader, replica.ground.published
    await desk.activation(fork)
    await settler.idle()
    before = published[0]
    live = replica.ground.runs.get(fork)
    assert live is not None
    live.tape = None  # as after a take-over
    read, come = replica.store.log.load_events, asyncio.Event()

    async def slow(run_id: RunId, **more: Any) -> list[EventRow]:
        await come.wait()
        return await read(run_id, **more)

    monkeypatch.setattr(replica.store.log, "load_events", slow)
    replica.ground.box.put(Letter(mail=Rederive(), run_id=fork, partition=0))
    await wait_until(lambda: len(reader) == 1)
    await desk.activation(await replica.start(0))
    await settler.idle()
    assert published[0] == before

    come.set()
    await desk.activation(fork, 2)
    await replica.start(0)
    await wait_until(lambda: published[0] == before + 2)
