"""Which events may be taken over next, and their digests. Pure: rows in, rows out.

Positions are dense within a partition and become visible in order, because a partition's commits are serialised by its lease. A gap is
therefore not something to wait out or to skip but the very thing an audit log exists to notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from waypost_io.store.ports import EventRow


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of a partition are missing: after `position` comes `found`."""

    partition: int
    position: int
    found: int


def leaf_digest(body: bytes) -> bytes:
    """SHA-256 of the exact stored bytes, 32 bytes: what the log proves of an event."""
    return hashlib.sha256(body).digest()


def dense(partition: int, position: int, events: Sequence[EventRow]) -> tuple[list[EventRow], Gap | None]:
    """The events that follow `position` without a gap, and the first gap if there is one. `events` are in order of position."""
    expected = position
    for index, event in enumerate(events):
        expected += 1
        if event.position != expected:
            return list(events[:index]), Gap(partition, expected - 1, event.position)
    return list(events), None


def shares(behind: Mapping[int, int], batch_max: int) -> dict[int, int]:
    """How many events to read of each partition that is behind: at most `batch_max` together, at least one each while that lasts.

    Small backlogs are taken whole; what they leave goes to the larger ones, so that one busy partition neither starves the
    others nor is held back by them.
    """
    left = batch_max
    result: dict[int, int] = {}
    waiting = sorted((count, partition) for partition, count in behind.items() if count > 0)
    for index, (count, partition) in enumerate(waiting):
        share = min(count, max(1, left // (len(waiting) - index)))
        if left <= 0:
            break
        result[partition] = share
        left -= share
    return result
