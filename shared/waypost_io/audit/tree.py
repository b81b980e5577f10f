"""Reads the Merkle tree that the database keeps: the hashes that a proof or a root needs, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.merkle import Range, fold, hashes_of, peaks
from waypost_core.audit.tiles import KnownHashes, needed
from waypost_io.store.ports import Audit
from waypost_proto.errors import NotFound


async def read_hashes(audit: Audit, ranges: Sequence[Range]) -> list[bytes]:
    """The hash of each of these subtrees, by a few index scans whatever the size. Raises `NotFound` when the log lacks some of it."""
    wanted = [(level, low, high) for level, found in needed(ranges).items() for low, high in found]
    read = await audit.pieces(wanted)
    pieces: dict[int, list[tuple[int, bytes]]] = {}
    for (level, low, _), hashes in zip(wanted, read, strict=True):
        pieces.setdefault(level, []).append((low, hashes))
    try:
        return hashes_of(ranges, KnownHashes(pieces))
    except LookupError as error:
        raise NotFound(f"{error.args[0]}; `waypost audit verify` says where it is damaged") from error


async def read_tree(audit: Audit, size: int) -> GrowingTree:
    """The tree of the first `size` leaves, ready to grow. Raises `NotFound`."""
    found = [(number << height, (number + 1) << height) for height, number in peaks(0, size)]
    return GrowingTree(size, await read_hashes(audit, found))


async def read_root(audit: Audit, size: int) -> bytes:
    """The root of the first `size` leaves, from the kept nodes. Raises `NotFound`."""
    return fold(await read_hashes(audit, [(0, size)])) if size else fold([])
