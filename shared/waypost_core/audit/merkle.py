"""A Merkle tree over a list that only grows, as RFC 6962 and RFC 9162 define it (section 2.1 of both): hashes, and proofs about them.

    leaf  SHA-256(0x00 ‖ data)        node  SHA-256(0x01 ‖ left ‖ right)        empty tree  SHA-256("")

The tree of n leaves has, left of its root, the largest perfect subtree that leaves something for the right. So every subtree that a proof
speaks of is a range of leaves `[low, high)` whose low end is a multiple of a power of two not smaller than its size; it is made of perfect
subtrees, its *peaks*. A perfect subtree is named (height, number): it has 2**height leaves, the first is number × 2**height.

Indices and sizes count leaves from 0. A hash is 32 bytes. Nothing here knows where hashes are kept; `tiles` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Node = tuple[int, int]
"""(height, number) of a perfect subtree."""
Range = tuple[int, int]
"""Leaves `[low, high)`."""
HashOf = Callable[[int, int], bytes]
"""The hash of the perfect subtree of this height and number."""

_sha256 = hashlib.sha256


def leaf_hash(data: bytes) -> bytes:
    """Of one leaf's data."""
    return _sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


def peaks(low: int, high: int) -> list[Node]:
    """The perfect subtrees that cover `[low, high)`, from left to right: each the largest that is aligned and fits."""
    found = []
    while low < high:
        height = (high - low).bit_length() - 1
        if low:
            height = min(height, (low & -low).bit_length() - 1)
        found.append((height, low >> height))
        low += 1 << height
    return found


def fold(hashes: Sequence[bytes]) -> bytes:
    """The hash of a subtree from those of its peaks, left to right; of no leaf at all, the empty tree's."""
    if not hashes:
        return EMPTY_ROOT
    *rest, result = hashes
    for left in reversed(rest):
        result = node_hash(left, result)
    return result


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose hashes prove that leaf `index` is in the tree of `size` leaves: its path, from the leaf up.

    Raises `ValueError` when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    low, high, found = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees whose hashes prove that the tree of `old` leaves is the beginning of that of `new`; none when that needs no proof.

    Raises `ValueError` unless 0 ≤ old ≤ new.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} leaves is not the beginning of one of {new}")
    if old in (0, new):
        return []
    low, high, whole, found = 0, new, True, []
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low, whole = middle, False
    if not whole:  # the verifier has the old root, and this is another subtree
        found.append((low, high))
    return found[::-1]


def hashes_of(ranges: Iterable[Range], hash_of: HashOf) -> list[bytes]:
    """The hash of each of these subtrees."""
    return [fold([hash_of(height, number) for height, number in peaks(low, high)]) for low, high in ranges]


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes | None:
    """The root that leaf hash and path lead to (RFC 9162, 2.1.3.2); None when the path is not one for this leaf and size."""
    if not 0 <= index < size:
        return None
    number, last, result = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if number & 1 or number == last:
            result = node_hash(sibling, result)
            while not number & 1 and number:
                number >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        number >>= 1
        last >>= 1
    return result if last == 0 else None


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the proof shows that the tree `old_root` of `old` leaves is the beginning of `new_root` (RFC 9162, 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        return not proof and (old_root == new_root if old == new else old_root == EMPTY_ROOT)
    steps = list(proof) if old & (old - 1) else [old_root, *proof]
    if not steps:
        return False
    number, last = old - 1, new - 1
    while number & 1:
        number >>= 1
        last >>= 1
    from_old = from_new = steps[0]
    for sibling in steps[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            from_old, from_new = node_hash(sibling, from_old), node_hash(sibling, from_new)
            while not number & 1 and number:
                number >>= 1
                last >>= 1
        else:
            from_new = node_hash(from_new, sibling)
        number >>= 1
        last >>= 1
    return last == 0 and from_old == old_root and from_new == new_root


def _split(count: int) -> int:
    """The largest power of two smaller than `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)
