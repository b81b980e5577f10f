"""Which runs' work reached JetStream lately: what a restored server may have lost although its sequences do not show it.

A server that comes back with an old copy gives sequences again. Whoever connects to it first may take its streams past all that it had
confirmed to us before we look, and then nothing says that it is not there any more (ADR 0197). Over one connection that cannot
happen, because a restored server is a new one: only what was confirmed between the last look and a new connection is in doubt.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from waypost_coordinator.batch import Batch
from waypost_coordinator.letters import Rederive
from waypost_core.messages import HostFound
from waypost_proto.events import FromWorker
from waypost_proto.ids import RunId

WAKES = frozenset({"run_resumed", *(str(kind.__struct_config__.tag) for kind in FromWorker.__subclasses__())})
"""After these a run may get an activation for what came before them: a resume, and every answer of its worker."""


@dataclass(slots=True)
class _Runs:
    """By run twice the seq that its first event follows, plus one if any of them wakes it: this is done for every event. And what was
    dispatched without events."""

    events: dict[RunId, int] = field(default_factory=dict)
    orders: dict[RunId, Rederive] = field(default_factory=dict)


class Lately:
    """`settled` for every batch that JetStream has, `looked` when the streams were found whole, `reconnected` after every reconnect.

    Nothing waits. Two looks long it remembers a run and what to derive again for it, no messages.
    """

    def __init__(self) -> None:
        self.connection = 0
        """Counts connections: what was published over another one than it was confirmed over is in doubt too."""
        self._now, self._before = _Runs(), _Runs()
        self._doubted: list[_Runs] = []

    def settled(self, batch: Batch) -> None:
        """All of a batch is confirmed."""
        if batch.connection == self.connection:
            runs = self._now
        else:
            runs = _Runs()
            self._doubted.append(runs)
        events = runs.events
        for row in batch.rows.events:
            known = events.get(row.run_id)
            if known is None:
                events[row.run_id] = 2 * (row.seq - 1) + (row.type in WAKES)
            elif not known & 1 and row.type in WAKES:
                events[row.run_id] = known + 1
        for letter in batch.letters:  # these lead to dispatches without an event
            if isinstance(letter.mail, Rederive):
                _add(runs.orders, letter.run_id, replace(letter.mail, fresh=False))
            elif isinstance(letter.mail, HostFound):
                _add(runs.orders, letter.run_id, Rederive(fresh=False, activation_only=True))

    def looked(self) -> None:
        """The streams were asked and found whole: what had settled before they were asked is there."""
        self._before, self._now = self._now, _Runs()

    def reconnected(self) -> None:
        """The server may be another one."""
        self.connection += 1
        self._doubted += (self._before, self._now)
        self._before, self._now = _Runs(), _Runs()

    def doubted(self) -> dict[RunId, Rederive]:
        """What to derive again now, each once: under the old ids, which JetStream knows of what is still there."""
        doubted, self._doubted = self._doubted, []
        found: dict[RunId, Rederive] = {}
        for runs in doubted:
            for run_id, known in runs.events.items():
                _add(found, run_id, Rederive(above=known >> 1, fresh=False, wake=bool(known & 1)))
            for run_id, order in runs.orders.items():
                _add(found, run_id, order)
        return found


def _add(runs: dict[RunId, Rederive], run_id: RunId, order: Rederive) -> None:
    known = runs.get(run_id)
    if known is not None:
        order = Rederive(
            above=min(known.above, order.above),
            fresh=False,
            activation_only=known.activation_only and order.activation_only,
            wake=known.wake or order.wake,
        )
    runs[run_id] = order
