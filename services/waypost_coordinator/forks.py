"""What forks read of the runs they come from: the log that one begins with, and the tape that one is answered from.

Both are read before deciding, never while; both are bounded (`MAX_FORK_EVENTS`). A tape is dropped when its fork pauses, ends or goes live,
and read again when it is resumed, so that it holds what the source was answered meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from waypost_coordinator.encoding import copied_row
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter
from waypost_coordinator.live import LiveRun
from waypost_core.evolve import evolve
from waypost_core.messages import Env
from waypost_core.tape import Tape
from waypost_io.store.ports import EventRow
from waypost_proto import events as ev
from waypost_proto.codec import decode, decode_union
from waypost_proto.events import OUTSIDE, Event
from waypost_proto.ids import RunId
from waypost_proto.limits import MAX_FORK_EVENTS
from waypost_proto.mailbox import ForkRun, Resume
from waypost_proto.task import parse_time
from waypost_proto.work import Entry

_PAGE = 1_000
EXECUTED = (ev.StepCompleted, ev.StepFailed, ev.RunForked, ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunPaused, ev.BreakerTripped)
"""What is measured of a fork that does not go live: what it did itself, and not what its source did before."""


@dataclass(slots=True)
class Read:
    """What the letters of one batch need, by run."""

    sources: dict[RunId, list[Event]]

    def env(self, env: Env, letter: Letter, live: LiveRun | None) -> Env:
        """`env` with what this letter needs of it."""
        if isinstance(letter.mail, ForkRun):
            return msgspec.structs.replace(env, source=self.sources.get(letter.mail.source))
        if live is not None and live.tape is not None:
            return msgspec.structs.replace(env, tape=live.tape)
        return env


async def read_for(ground: Ground, letters: Iterable[Letter]) -> Read:
    """Read what these letters need and is not there. Their runs are loaded already. Raises `Unreachable`, `BadMessage`."""
    read = Read({})
    for letter in letters:
        live = ground.runs.get(letter.run_id)
        mail = letter.mail
        if isinstance(mail, ForkRun):
            if live is None and mail.source not in read.sources:
                read.sources[mail.source] = await _log_of(ground, mail.source)
        elif live is not None and live.state.fork is not None:
            await _tape_for(ground, live, again=isinstance(mail, Resume))
    return read


def begin(live: LiveRun, history: Sequence[Event], *, partition: int, position: int) -> list[EventRow]:
    """Make the copied events the first ones of `live`; the rows to write, the first at `position` + 1. Nothing follows from them."""
    rows: list[EventRow] = []
    for event in history:
        at = parse_time(event.recorded_at)
        data: ev.AnyData = decode_union(ev.AnyData, event.data)
        rows.append(copied_row(event, partition=partition, position=position + len(rows) + 1, at=at))
        evolve(live.state, event.seq, at, data, event.cause)
        if event.type in OUTSIDE:
            live.unread.append(Entry(seq=event.seq, type=event.type, at=_told_at(data, at), data=event.data))
    live.read_up_to(live.state.seen)
    live.delivered = live.state.seen
    return rows


def measured(live: LiveRun, data: ev.Data) -> bool:
    """Whether an event says what this run did, or only what its source had done."""
    return not live.state.plays or isinstance(data, EXECUTED)


def applied(live: LiveRun, data: ev.Data) -> None:
    """An event of a fork was applied to its state."""
    if live.tape is not None:
        live.tape.note(data)
        if live.state.paused or live.state.terminal or not live.state.plays:
            live.tape = None


async def _tape_for(ground: Ground, live: LiveRun, *, again: bool) -> None:
    state = live.state
    fork = state.fork
    wanted = fork is not None and fork.began and fork.tools != "live" and not state.terminal
    if fork is None or not wanted or (live.tape is not None and not again) or (state.paused and not again):
        return
    tape = Tape.of(await _log_of(ground, fork.source))
    for event in await _log_of(ground, state.run_id, after=fork.seq):
        tape.note(decode_union(ev.AnyData, event.data))
    live.tape = tape


async def _log_of(ground: Ground, run_id: RunId, *, after: int = 0) -> list[Event]:
    """A run's events; one more than can be forked, so that too many are seen to be too many."""
    events: list[Event] = []
    while len(events) <= MAX_FORK_EVENTS:
        page = await ground.store.log.load_events(run_id, after=after, limit=_PAGE)
        events.extend(decode(Event, row.body) for row in page)
        if len(page) < _PAGE:
            break
        after = page[-1].seq
    return events


def _told_at(data: ev.AnyData, at: float) -> float:
    recalled = getattr(data, "recalled", None)
    return at if recalled is None else float(recalled.at)
