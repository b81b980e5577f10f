"""The right edge of a tree that grows: all that is needed to append, and to know the root after each leaf."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from waypost_core.audit.merkle import HASH_BYTES, fold, node_hash, peaks
from waypost_core.audit.tiles import TILE_HEIGHT

_sha256 = hashlib.sha256


class StoredNode(NamedTuple):
    """A node to keep: the perfect subtree number `number` of height `level` × `TILE_HEIGHT`, level 1 and up."""

    level: int
    number: int
    hash: bytes


class GrowingTree:
    """`size` leaves, of which only the peaks are kept: at most 64 hashes, whatever the size."""

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """From the hashes of `peaks(0, size)`, left to right. Raises `ValueError` when that is another number of hashes."""
        if len(hashes) != len(peaks(0, size)):
            raise ValueError(f"a tree of {size} leaves has {len(peaks(0, size))} peaks, not {len(hashes)}")
        self.size = size
        self._peaks = list(hashes)

    @property
    def root(self) -> bytes:
        """The root of the tree as it is."""
        return fold(self._peaks)

    def copy(self) -> GrowingTree:
        """One that grows by itself."""
        return GrowingTree(self.size, self._peaks)

    def append(self, leaf: bytes) -> None:
        """One more leaf hash."""
        stack, number = self._peaks, self.size
        while number & 1:
            leaf = _sha256(b"\x01" + stack.pop() + leaf).digest()
            number >>= 1
        stack.append(leaf)
        self.size += 1

    def extend(self, leaves: bytes) -> list[StoredNode]:
        """Many leaf hashes, one behind another; the nodes that are to be kept. Raises `ValueError` for a piece of a hash."""
        if len(leaves) % HASH_BYTES:
            raise ValueError(f"{len(leaves)} bytes are no whole number of hashes")
        stack, size, kept = self._peaks, self.size, []
        for at in range(0, len(leaves), HASH_BYTES):
            result = leaves[at : at + HASH_BYTES]
            number, height = size, 0
            while number & 1:
                result = _sha256(b"\x01" + stack.pop() + result).digest()
                number >>= 1
                height += 1
                if height % TILE_HEIGHT == 0:
                    kept.append(StoredNode(height // TILE_HEIGHT, number, result))
            stack.append(result)
            size += 1
        self.size = size
        return kept

    def append_subtree(self, height: int, result: bytes) -> None:
        """A perfect subtree of 2**height leaves of which only the hash is known. Raises `ValueError` unless the size is a multiple."""
        number, rest = divmod(self.size, 1 << height)
        if rest:
            raise ValueError(f"a subtree of height {height} cannot begin at leaf {self.size}")
        while number & 1:
            result = node_hash(self._peaks.pop(), result)
            number >>= 1
        self._peaks.append(result)
        self.size += 1 << height
