"""What may be taken over, and in which shares."""

from __future__ import annotations

import hashlib

import hypothesis.strategies as st
from hypothesis import given

from waypost_audit.reading import Gap, dense, leaf_digest, shares
from waypost_io.store.ports import EventRow
from waypost_proto.ids import RunId


def at(position: int) -> EventRow:
    return EventRow(RunId("r"), position, "t", 0, position, 0.0, b"x")


def test_a_digest_is_sha256_of_the_exact_bytes() -> None:
    body = b'{"a": 1.0,"a":1}\x00\xff'
    assert leaf_digest(body) == hashlib.sha256(body).digest()


def test_what_follows_without_a_gap_is_taken_and_the_gap_is_named() -> None:
    assert dense(0, 4, [at(5), at(6)]) == ([at(5), at(6)], None)
    assert dense(0, 4, [at(5), at(7), at(8)]) == ([at(5)], Gap(0, 5, 7))
    assert dense(0, 4, [at(6)]) == ([], Gap(0, 4, 6))
    assert dense(0, 4, []) == ([], None)


@given(st.dictionaries(st.integers(0, 20), st.integers(0, 500)), st.integers(1, 300))
def test_shares_use_the_batch_and_starve_nobody(behind: dict[int, int], batch_max: int) -> None:
    found = shares(behind, batch_max)
    total = sum(behind.values())
    waiting = [partition for partition, count in behind.items() if count]
    assert sum(found.values()) == min(total, batch_max)
    assert all(1 <= count <= behind[partition] for partition, count in found.items())
    if len(waiting) <= batch_max:
        assert set(found) == set(waiting)
