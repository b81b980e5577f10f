"""Whether two states of a run are the same: the one that is stored, and the fold of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from waypost_core.evolve import fold
from waypost_core.state import decode_state, encode_state
from waypost_proto.events import Event


def differ(events: Sequence[Event], stored: bytes) -> str:
    """ "" if the stored state is the fold of the log; otherwise both, for people."""
    folded, kept = (msgspec.json.decode(encode_state(state)) for state in (fold(events), decode_state(stored)))
    return "" if same(folded, kept) else f"{folded}\n  {kept}"


def same(one: Any, other: Any) -> bool:
    """Equal but for fractions of a microsecond: the log has times in microseconds, the stored state as they were decided."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < 2e-6
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
