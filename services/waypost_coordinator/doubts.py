"""Which calls are in doubt at this moment, in the partitions that are ours. Kept up by every commit, at a set look-up per event.

What was in doubt before a partition was ours is read once, when it is gained: the runs with a call that was started and is not settled.
That costs one look-up per open run, too much to do again and again. In memory only: whoever gains the partition next reads it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from waypost_coordinator.batch import Batch
from waypost_coordinator.ground import Ground
from waypost_core.state import RunState, decode_state
from waypost_io.store.ports import RunRow
from waypost_proto.ids import RunId

MAX_CANDIDATES = 10_000
"""Runs read when a partition is gained. Most of them have a call that simply runs: gateways run a few hundred at a time."""
_IN_DOUBT = "tool_call_in_doubt"

Settles = tuple[str, str, str]
"""Agent, tool, and what settles the call next: `reconcile` (its hook is asked) or `person`."""


class Doubts:
    """`committed` after every commit; `seed` now and then, which does nothing unless a partition was gained."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._runs: dict[RunId, tuple[int, Counter[Settles]]] = {}
        self._seeded: dict[int, int] = {}
        self._meanwhile: set[RunId] | None = None
        """Runs that changed while a seed was being read: what it says of them is old."""

    def committed(self, batch: Batch) -> None:
        """Runs that got a call into doubt, or had one: see what their states say."""
        known, meanwhile = self._runs, self._meanwhile
        for event in batch.rows.events:
            if event.type == _IN_DOUBT or event.run_id in known:
                self._look_at(event.run_id)
            if meanwhile is not None:
                meanwhile.add(event.run_id)

    async def seed(self) -> None:
        """Read what was in doubt in partitions that were gained since the last time. Raises `Unreachable`; call it again then."""
        epochs = dict(self._ground.epochs)
        gained = [partition for partition, epoch in epochs.items() if self._seeded.get(partition) != epoch]
        if not gained:
            return
        meanwhile: set[RunId] = set()
        self._meanwhile = meanwhile
        try:
            found = await self._ground.store.overview.doubtful(gained, limit=MAX_CANDIDATES)
        finally:
            self._meanwhile = None
        self._forget(lambda partition: partition in gained or partition not in epochs, keep=meanwhile)
        for row in found:
            if row.run_id not in meanwhile:
                self._keep(row.run_id, row.partition, of_row(row))
        for run_id in meanwhile:
            self._look_at(run_id)
        self._seeded = epochs

    def count(self) -> Counter[Settles]:
        """How many calls of each kind, in what is ours."""
        total: Counter[Settles] = Counter()
        for partition, found in self._runs.values():
            if partition in self._ground.epochs:
                total += found
        return total

    def _look_at(self, run_id: RunId) -> None:
        live = self._ground.runs.get(run_id)
        if live is not None:
            self._keep(run_id, live.partition, of_state(live.state))

    def _keep(self, run_id: RunId, partition: int, found: Counter[Settles]) -> None:
        if found:
            self._runs[run_id] = (partition, found)
        else:
            self._runs.pop(run_id, None)

    def _forget(self, gone: Callable[[int], bool], keep: Iterable[RunId]) -> None:
        kept = set(keep)
        self._runs = {run_id: each for run_id, each in self._runs.items() if run_id in kept or not gone(each[0])}


def of_state(state: RunState) -> Counter[Settles]:
    """The calls of a run that are in doubt."""
    found: Counter[Settles] = Counter()
    for call in state.calls.values():
        if call.stage in ("doubt", "reconcile"):
            hook = call.stage == "reconcile" or call.due_at is not None
            found[state.agent, call.name, "reconcile" if hook else "person"] += 1
    return found


def of_row(row: RunRow) -> Counter[Settles]:
    """The same of a stored run. A state that this version cannot read tells nothing; the run's next event does."""
    try:
        return of_state(decode_state(row.state))
    except msgspec.DecodeError:
        return Counter()
