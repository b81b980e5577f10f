"""What the shell does for forks: the rows that one begins with, and the tape that one is answered from. `reading` reads both."""

from __future__ import annotations

from waypost_coordinator.encoding import copied_body
from waypost_coordinator.live import LiveRun
from waypost_core.drafting import Draft
from waypost_io.store.ports import EventRow
from waypost_proto import events as ev
from waypost_proto.codec import decode_union
from waypost_proto.events import OUTSIDE, Event
from waypost_proto.task import parse_time
from waypost_proto.work import Entry

EXECUTED = (ev.StepCompleted, ev.StepFailed, ev.RunForked, ev.RunCompleted, ev.RunFailed, ev.RunCancelled, ev.RunPaused, ev.BreakerTripped)
"""What is measured of a fork that does not go live: what it did itself, and not what its source did before."""


class Beginning:
    """The copied events of a fork, as they will be stored and told to its worker. Made piece by piece; taken once."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._stored: list[tuple[Event, float, bytes]] = []
        self._unread: list[Entry] = []

    def encode(self) -> None:
        """What has been copied since the last call."""
        for event in self.draft.history[len(self._stored) :]:
            at = parse_time(event.recorded_at)
            self._stored.append((event, at, copied_body(event)))
            if event.type in OUTSIDE:
                data: ev.AnyData = decode_union(ev.AnyData, event.data)
                self._unread.append(Entry(seq=event.seq, type=event.type, at=_told_at(data, at), data=event.data))

    def begin(self, live: LiveRun, *, position: int) -> list[EventRow]:
        """Make them the first events of `live`; the rows to write, the first at `position` + 1. Nothing follows from them."""
        live.told(self._unread)
        live.read_up_to(live.state.seen)
        live.delivered = live.state.seen
        first, partition = position + 1, live.partition
        return [EventRow(e.run_id, e.seq, e.type, partition, first + n, at, body) for n, (e, at, body) in enumerate(self._stored)]


def measured(live: LiveRun, data: ev.Data) -> bool:
    """Whether an event says what this run did, or only what its source had done."""
    return not live.state.plays or isinstance(data, EXECUTED)


def applied(live: LiveRun, data: ev.Data) -> None:
    """An event of a fork was applied to its state."""
    if live.tape is not None:
        live.tape.note(data)
        if live.state.paused or live.state.terminal or not live.state.plays:
            live.tape = None


def _told_at(data: ev.AnyData, at: float) -> float:
    recalled = getattr(data, "recalled", None)
    return at if recalled is None else float(recalled.at)
