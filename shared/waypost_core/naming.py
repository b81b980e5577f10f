"""Names that many runs have in common, kept once."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=4_096)
def shared(name: str) -> str:
    """One object for equal names: a waiting run must not hold copies of its own of what thousands have in common."""
    return name
