"""What every part of the shell stands on: the adapters, the names, the letter box, and which partitions are ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from waypost_coordinator.clock import DatabaseClock
from waypost_coordinator.lately import Lately
from waypost_coordinator.letters import LetterBox
from waypost_coordinator.live import Runs
from waypost_coordinator.metrics import CoordinatorMetrics
from waypost_io.bus.ports import Bus
from waypost_io.store.ports import Store
from waypost_proto.ids import RunId, partition_of
from waypost_proto.subjects import Subjects


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """`epochs` (partition → lease epoch of what is ours) and `published` (partition → position up to which everything is in JetStream)
    are changed in place by the leases and the settler. `look` tells the sweep that something is odd; it never waits."""

    store: Store
    bus: Bus
    subjects: Subjects
    box: LetterBox
    runs: Runs
    clock: DatabaseClock
    metrics: CoordinatorMetrics
    partitions: int
    name: str
    """Of this replica, short: what it sends says so, and answers to it come together."""
    epochs: dict[int, int]
    published: dict[int, int]
    look: Callable[[], None]
    stored: dict[str, int] = field(default_factory=dict)
    """The highest sequence that each stream confirmed or delivered to us: below that it can only be by losing what we rely on."""
    lately: Lately = field(default_factory=Lately)
    """Whose work JetStream confirmed to us since the streams were last found whole."""
    roads: dict[str, str] = field(default_factory=dict)
    """By stream, which incarnation of it there is, as the last sweep found it: another one after a loss, the same for every replica."""

    def owns(self, partition: int) -> bool:
        return partition in self.epochs

    def partition(self, run_id: RunId) -> int:
        return partition_of(run_id, self.partitions)
