"""The tree against the words of RFC 6962, its published test vectors and its own example."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.unit.waypost_core.audit import naive
from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.merkle import (
    EMPTY_ROOT,
    Range,
    consistency_ranges,
    fold,
    hashes_of,
    inclusion_ranges,
    is_consistent,
    leaf_hash,
    node_hash,
    peaks,
    root_from_inclusion,
)
from waypost_core.audit.tiles import TILE_HEIGHT, KnownHashes, needed

# of github.com/google/certificate-transparency, merkle_tree_test: leaves and the root after each
LEAVES = [
    bytes.fromhex(text) for text in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = st.integers(0, 700)


def data(size: int) -> list[bytes]:
    return [b"event %d" % number for number in range(size)]


class Kept:
    """A tree with the nodes that are kept, as a database keeps them."""

    def __init__(self, size: int, steps: list[int] | None = None) -> None:
        hashes = [leaf_hash(each) for each in data(size)]
        tree, at = GrowingTree(), 0
        self.levels: dict[int, dict[int, bytes]] = {0: dict(enumerate(hashes))}
        for step in [*(steps or []), size]:
            for level, index, found in tree.extend(b"".join(hashes[at : at + step])):
                self.levels.setdefault(level, {})[index] = found
            at = min(at + step, size)
        self.tree = tree

    def hashes(self, ranges: list[Range]) -> list[bytes]:
        """Reads no more than `needed` says."""
        pieces = {
            level: [(low, b"".join(self.levels[level][number] for number in range(low, high))) for low, high in found]
            for level, found in needed(ranges).items()
        }
        return hashes_of(ranges, KnownHashes(pieces))


def test_published_roots() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    tree = GrowingTree()
    assert tree.root == EMPTY_ROOT
    for leaf, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(leaf))
        assert tree.root.hex() == root


def test_the_example_of_the_rfc() -> None:
    """Section 2.1.3: seven leaves, a to j; i is the lone seventh, k and l are the halves."""
    d = data(7)
    a, b, c, dd, e, f, j = (leaf_hash(each) for each in d)
    g, h, i = node_hash(a, b), node_hash(c, dd), node_hash(e, f)
    k = node_hash(g, h)
    kept = Kept(7)
    assert kept.hashes(inclusion_ranges(0, 7)) == [b, h, node_hash(i, j)]
    assert kept.hashes(inclusion_ranges(3, 7)) == [c, g, node_hash(i, j)]
    assert kept.hashes(inclusion_ranges(4, 7)) == [f, j, k]
    assert kept.hashes(inclusion_ranges(6, 7)) == [i, k]
    assert kept.hashes(consistency_ranges(3, 7)) == [c, dd, g, node_hash(i, j)]
    assert kept.hashes(consistency_ranges(4, 7)) == [node_hash(i, j)]
    assert kept.hashes(consistency_ranges(6, 7)) == [i, j, k]


@given(SIZES, st.lists(st.integers(0, 300), max_size=6))
def test_roots_and_kept_nodes_are_those_of_the_naive_tree(size: int, steps: list[int]) -> None:
    kept = Kept(size, steps)
    assert kept.tree.size == size
    assert kept.tree.root == naive.mth(data(size))
    assert kept.levels.get(1, {}) == {n: naive.mth(data(size)[256 * n : 256 * n + 256]) for n in range(size >> TILE_HEIGHT)}
    again = GrowingTree(size, kept.hashes([(number << height, (number + 1) << height) for height, number in peaks(0, size)]))
    assert again.root == kept.tree.root


@given(SIZES.filter(bool), st.data())
def test_every_leaf_is_proved_and_no_other(size: int, chance: st.DataObject) -> None:
    index = chance.draw(st.integers(0, size - 1))
    path = Kept(size).hashes(inclusion_ranges(index, size))
    leaf, root = leaf_hash(data(size)[index]), naive.mth(data(size))
    assert path == naive.path(index, data(size))
    assert len(path) <= size.bit_length()
    assert root_from_inclusion(index, size, leaf, path) == root
    assert root_from_inclusion(index, size, leaf_hash(b"another"), path) != root
    for other in {index - 1, index + 1, index ^ 1, size - 1} - {index}:
        assert root_from_inclusion(other, size, leaf, path) != root
    if path:
        assert root_from_inclusion(index, size, leaf, path[:-1]) != root
        at = chance.draw(st.integers(0, len(path) - 1))
        assert root_from_inclusion(index, size, leaf, [*path[:at], leaf_hash(b"x"), *path[at + 1 :]]) != root
    assert root_from_inclusion(index, size, leaf, [*path, path[-1] if path else leaf]) != root


@given(SIZES, SIZES, st.data())
def test_a_tree_is_proved_to_be_the_beginning_of_another(one: int, other: int, chance: st.DataObject) -> None:
    old, new = sorted((one, other))
    proof = Kept(new).hashes(consistency_ranges(old, new))
    old_root, new_root = naive.mth(data(old)), naive.mth(data(new))
    if 0 < old < new:
        assert proof == naive.proof(old, data(new))
    assert len(proof) <= 1 + new.bit_length()
    assert is_consistent(old, new, old_root, new_root, proof)
    wrong = leaf_hash(b"x")
    assert not is_consistent(old, new, old_root, wrong, proof) or old == 0 < new
    assert not is_consistent(old, new, wrong, new_root, proof)
    assert not is_consistent(old, new, old_root, new_root, [*proof, wrong])
    assert not is_consistent(new, old, new_root, old_root, proof) or old == new
    if proof:
        at = chance.draw(st.integers(0, len(proof) - 1))
        assert not is_consistent(old, new, old_root, new_root, [*proof[:at], wrong, *proof[at + 1 :]])
        assert not is_consistent(old, new, old_root, new_root, proof[:-1])


@given(SIZES, st.data())
def test_whole_subtrees_stand_for_their_leaves(size: int, chance: st.DataObject) -> None:
    """What an export leaves out."""
    hashes = [leaf_hash(each) for each in data(size)]
    tree = GrowingTree()
    while tree.size < size:
        most = [h for h in range(10) if tree.size % (1 << h) == 0 and tree.size + (1 << h) <= size]
        height = chance.draw(st.sampled_from(most))
        subtree = GrowingTree()
        subtree.extend(b"".join(hashes[tree.size : tree.size + (1 << height)]))
        tree.append_subtree(height, subtree.root)
    assert tree.root == naive.mth(data(size))


@pytest.mark.parametrize("low", [0, 256, 1 << 20])
@pytest.mark.parametrize("count", [1, 5, 255, 256, 257, 70_000])
def test_peaks_cover_their_range(low: int, count: int) -> None:
    at = low
    for height, number in peaks(low, low + count):
        assert number << height == at
        at += 1 << height
    assert at == low + count


def test_a_proof_among_ten_million_reads_little() -> None:
    size = 10_000_000
    for index in (0, 4_999_999, 9_999_999):
        ranges = inclusion_ranges(index, size)
        read = needed(ranges)
        assert len(ranges) <= 24
        assert sum(len(pieces) for pieces in read.values()) <= 8
        assert sum(high - low for pieces in read.values() for low, high in pieces) <= 4 * 256


def test_what_makes_no_sense_is_refused() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_ranges(index, size)
        assert root_from_inclusion(index, size, EMPTY_ROOT, []) is None
    with pytest.raises(ValueError, match="beginning"):
        consistency_ranges(4, 3)
    with pytest.raises(ValueError, match="whole number"):
        GrowingTree().extend(b"x" * 33)
    with pytest.raises(ValueError, match="peaks"):
        GrowingTree(3, [EMPTY_ROOT])
    with pytest.raises(ValueError, match="cannot begin"):
        GrowingTree(1, [EMPTY_ROOT]).append_subtree(1, EMPTY_ROOT)
    with pytest.raises(LookupError, match="lacks the hash"):
        KnownHashes({0: [(0, b"x" * 32)]})(0, 1)
    assert fold([]) == EMPTY_ROOT
    assert not is_consistent(2, 3, EMPTY_ROOT, EMPTY_ROOT, [])
