"""Runs in memory: the folded state, and the little that no log holds (what was sent and not answered yet).

A run that is not in the cache is loaded from its row; a failed commit drops it, because the state is changed in place while deciding.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from waypost_coordinator.course import Course
from waypost_coordinator.encoding import entry_of
from waypost_core.evolve import fold
from waypost_core.state import STATE_VERSION, RunState, decode_state
from waypost_core.tape import Tape
from waypost_io.store.ports import EventRow, RunRow, Store
from waypost_proto.codec import decode
from waypost_proto.errors import TransientError
from waypost_proto.events import OUTSIDE, Event
from waypost_proto.ids import RunId
from waypost_proto.values import Token
from waypost_proto.work import Entry

PAGE = 1_000
_OUTSIDE_TYPES = sorted(OUTSIDE)


@dataclass(slots=True, eq=False)
class LiveRun:
    """A run as this replica holds it.

    `unread` are the outside events after `state.seen`. `delivered` is the last of them that an activation has carried; above
    `state.seen` it means that an activation is unanswered, and a further one waits for that answer. `sure` is False
    after loading: then `delivered` is what was probably sent.
    """

    state: RunState
    partition: int
    unread: Sequence[Entry] = ()
    delivered: int = 0
    sure: bool = True
    sent_to: str = ""
    """The worker whose own subject the last activation went to; "" for any."""
    token: Token | None = None
    """Of the last activation; None after loading."""
    unhosted: bool = False
    """Its activation waits for a worker that hosts the agent."""
    rejections: int = 0
    """Rejected advances in a row."""
    tape: Tape | None = None
    """Of a fork that does not go live: what its source was answered."""
    measured: Course | None = None
    """What measuring it needs, once it needs something; nothing when the run is loaded."""

    @property
    def course(self) -> Course:
        """What measuring it needs."""
        if self.measured is None:
            self.measured = Course()
        return self.measured

    def told(self, entries: Iterable[Entry]) -> None:
        """More that the code has not been given. Nothing unread takes no memory: most runs in memory wait."""
        if isinstance(self.unread, list):
            self.unread.extend(entries)
        else:
            self.unread = list(entries)

    @property
    def pinned(self) -> bool:
        """Whether dropping it from memory would lose something: an activation that waits its turn."""
        return self.state.wants_worker and self.delivered < self.state.outside and not self.unhosted

    def read_up_to(self, seen: int) -> None:
        """The worker has answered: forget what it has read."""
        if self.unread and self.unread[0].seq <= seen:
            self.unread = [entry for entry in self.unread if entry.seq > seen] or ()


class Runs:
    """A bounded cache of live runs, loaded in one query a batch."""

    def __init__(self, store: Store, capacity: int) -> None:
        self._store = store
        self._capacity = capacity
        self._runs: OrderedDict[RunId, LiveRun] = OrderedDict()

    def __len__(self) -> int:
        return len(self._runs)

    def get(self, run_id: RunId) -> LiveRun | None:
        """A cached run."""
        return self._runs.get(run_id)

    def add(self, live: LiveRun) -> None:
        self._runs[live.state.run_id] = live

    def drop(self, run_ids: Iterable[RunId]) -> None:
        for run_id in run_ids:
            self._runs.pop(run_id, None)

    def clear(self) -> None:
        self._runs.clear()

    def drop_partitions(self, partitions: Iterable[int]) -> None:
        """Forget the runs of partitions that are no longer ours."""
        gone = set(partitions)
        self.drop([run_id for run_id, live in self._runs.items() if live.partition in gone])

    def of_workers(self, workers: Collection[str]) -> list[RunId]:
        """Cached runs that these workers hold, or whose last activation went to one of them, also by events that are not committed yet."""
        held = ((live.state, live.sent_to) for live in self._runs.values())
        return [state.run_id for state, sent_to in held if not state.terminal and (state.worker in workers or sent_to in workers)]

    async def load(self, run_ids: Iterable[RunId]) -> dict[RunId, Exception]:
        """Make sure that those of the runs that exist are cached. Raises `Unreachable`.

        Returns the runs whose row or log cannot be read, with the reason: one such run must not stop the others.
        """
        missing = []
        for run_id in set(run_ids):
            if run_id in self._runs:
                self._runs.move_to_end(run_id)
            else:
                missing.append(run_id)
        broken: dict[RunId, Exception] = {}
        if not missing:
            return broken
        for row in (await self._store.log.load_runs(missing)).values():
            try:
                live = await self.revive(row)
            except TransientError:
                raise
            except Exception as error:  # noqa: BLE001  # whatever is wrong with this one, its letter is buried with it
                broken[row.run_id] = error
            else:
                self._runs[row.run_id] = live
        return broken

    async def revive(self, row: RunRow) -> LiveRun:
        """A live run from its row, folded from the log where the stored state is of another version."""
        state = await self._state_of(row)
        # what came while the run was paused was held back: the resume must send it
        delivered = state.seen if state.paused else state.outside
        live = LiveRun(state=state, partition=row.partition, delivered=delivered, sure=False, unhosted=row.held and state.held == 0)
        if not state.terminal and state.outside > state.seen:  # also of a paused run: it will be resumed
            rows = await self._all_events(row.run_id, after=state.seen, types=_OUTSIDE_TYPES)
            live.unread = [entry_of(decode(Event, event.body)) for event in rows]
        return live

    async def _state_of(self, row: RunRow) -> RunState:
        if row.state_version == STATE_VERSION:
            try:
                state = decode_state(row.state)
            except msgspec.DecodeError:
                pass
            else:
                if state.seq == row.seq:
                    return state
        events = await self._all_events(row.run_id, after=0, types=None)
        return fold(decode(Event, event.body) for event in events)

    async def _all_events(self, run_id: RunId, *, after: int, types: Sequence[str] | None) -> list[EventRow]:
        rows: list[EventRow] = []
        while True:
            page = await self._store.log.load_events(run_id, after=after, limit=PAGE, types=types)
            rows.extend(page)
            if len(page) < PAGE:
                return rows
            after = page[-1].seq

    def trim(self, keep: Collection[RunId] = ()) -> None:
        """Drop the longest unused beyond the capacity, except pinned ones and `keep`: runs whose events are not committed yet.

        Never call it while states are being loaded for a batch: what is in the cache then must still be there when they are.
        """
        excess = len(self._runs) - self._capacity
        if excess <= 0:
            return
        for run_id in list(self._runs):
            if excess <= 0:
                return
            if run_id not in keep and not self._runs[run_id].pinned:
                del self._runs[run_id]
                excess -= 1
