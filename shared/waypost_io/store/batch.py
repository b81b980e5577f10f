"""What both adapters do with a `Commit` before they write it: which partition each row belongs to, and what cannot be right."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from waypost_io.store.ports import Commit
from waypost_proto.errors import ContractError
from waypost_proto.ids import RunId

Row = TypeVar("Row")


def positions_of(batch: Commit) -> tuple[dict[int, int], dict[int, int]]:
    """Partition → smallest, and partition → largest position among its events; a partition without events is in neither.

    Raises `ContractError` for an event or a run of a partition for which the commit names no lease.
    """
    pairs = sorted([(event.partition, event.position) for event in batch.events])
    lasts = dict(pairs)
    strangers = lasts.keys() | {run.partition for run in batch.runs}
    strangers -= {lease[0] for lease in batch.leases}
    if strangers:
        raise ContractError(f"a commit has rows of partitions {sorted(strangers)} but names no lease for them; add them to `leases`")
    return dict(reversed(pairs)), lasts


def homes(batch: Commit) -> dict[RunId, int]:
    """Run → its partition, as far as the rows of this commit say."""
    found = {event.run_id: event.partition for event in batch.events}
    found.update((run.run_id, run.partition) for run in batch.runs)
    found.update((timer.run_id, timer.partition) for timer in batch.set_timers)
    return found


def last_of_each(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> Sequence[Row]:
    """The rows without those that a later one with the same key replaces: one statement cannot write a row twice."""
    unique = {key(row): row for row in rows}
    return rows if len(unique) == len(rows) else list(unique.values())
