"""Which hashes are kept, and which of them a proof must read.

Kept are the leaves and, of the inner nodes, those of every eighth height: level l holds the perfect subtrees of 256**l leaves. That is one
node for 256 leaves. Any other perfect subtree is made of at most 128 neighbours of one level, so a proof reads, for each level, a piece of
at most 255 neighbours and the right edge: under 1,000 hashes among ten million leaves, in one scan of an index per level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from waypost_core.audit.merkle import HASH_BYTES, Range, node_hash, peaks

TILE_HEIGHT: Final = 8
"""Heights between two levels that are kept."""


def needed(ranges: Iterable[Range]) -> dict[int, list[Range]]:
    """What to read so that the hashes of these subtrees can be computed: for each level, neighbours `[low, high)`, joined and in order."""
    wanted: dict[int, list[Range]] = {}
    for low, high in ranges:
        for height, number in peaks(low, high):
            level, above = divmod(height, TILE_HEIGHT)
            wanted.setdefault(level, []).append((number << above, (number + 1) << above))
    return {level: _joined(pieces) for level, pieces in sorted(wanted.items())}


def _joined(pieces: list[Range]) -> list[Range]:
    found: list[Range] = []
    for low, high in sorted(pieces):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


class KnownHashes:
    """Hashes that were read, by level and where they begin; makes those in between."""

    def __init__(self, pieces: Mapping[int, Iterable[tuple[int, bytes]]]) -> None:
        """For each level: (number of the first, hashes one behind another)."""
        self._pieces = {level: list(found) for level, found in pieces.items()}
        self._made: dict[tuple[int, int], bytes] = {}

    def __call__(self, height: int, number: int) -> bytes:
        """The hash of a perfect subtree. Raises `LookupError` when too little was read, or too little is there."""
        level, above = divmod(height, TILE_HEIGHT)
        if above == 0:
            return self._kept(level, number)
        found = self._made.get((height, number))
        if found is None:
            found = node_hash(self(height - 1, 2 * number), self(height - 1, 2 * number + 1))
            self._made[height, number] = found
        return found

    def _kept(self, level: int, number: int) -> bytes:
        for first, hashes in self._pieces.get(level, ()):
            at = (number - first) * HASH_BYTES
            if 0 <= at <= len(hashes) - HASH_BYTES:
                return hashes[at : at + HASH_BYTES]
        raise LookupError(f"the audit log lacks the hash of node {number} of level {level}")
