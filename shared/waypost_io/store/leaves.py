"""What both adapters judge before they append to the audit log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waypost_io.store.ports import EventRow
from waypost_proto.errors import ConcurrencyError, ContractError


def check_cursors(seen: Mapping[int, int] | None, stored: Mapping[int, int]) -> None:
    """Raise `ConcurrencyError` if the stored cursors are not those that this appender last saw (None: it has not looked yet)."""
    if seen is not None and seen != stored:
        raise ConcurrencyError(
            f"another audit logger moved the cursors from {dict(seen)} to {dict(stored)}: load them, rebuild the tree and go on from there"
        )


def fresh(
    events: Sequence[EventRow], digests: Sequence[bytes], cursors: Mapping[int, int]
) -> tuple[list[tuple[EventRow, bytes]], dict[int, int]]:
    """The events past their partition's cursor with their digests, and the cursors that follow. Raises `ContractError` for disorder."""
    if len(events) != len(digests):
        raise ContractError(f"{len(events)} events and {len(digests)} digests; each event needs one")
    added: list[tuple[EventRow, bytes]] = []
    moved: dict[int, int] = {}
    for event, digest in zip(events, digests, strict=True):
        cursor = cursors.get(event.partition, 0)
        if event.position <= cursor:
            continue
        if event.position <= moved.get(event.partition, cursor):
            raise ContractError(f"position {event.position} of partition {event.partition} comes out of order; append in order of position")
        added.append((event, digest))
        moved[event.partition] = event.position
    return added, moved
