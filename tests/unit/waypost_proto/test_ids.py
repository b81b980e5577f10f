"""Ids: their form, and that what is derived comes out the same every time."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost_proto.errors import BadInput
from waypost_proto.ids import (
    CallId,
    RunId,
    chain_digest,
    check_name,
    child_run_id,
    derive_run_id,
    digest_of,
    idempotency_key,
    parse_run_id,
    partition_of,
    unix_ms_of,
    uuid7,
)

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")


@pytest.mark.parametrize("name", ["a", "file-report", "0", "a" * 63])
def test_a_name_that_may_stand_in_a_subject_is_returned(name: str) -> None:
    assert check_name("tool", name) == name


@pytest.mark.parametrize("name", ["", "a" * 64, "File", "a.b", "a*", ">", "a b", "a_b", "é", "a\n"])
def test_any_other_name_is_refused_with_its_value(name: str) -> None:
    with pytest.raises(BadInput, match="tool name") as raised:
        check_name("tool", name)
    assert repr(name) in str(raised.value)


def test_a_run_id_is_folded_to_lower_case() -> None:
    assert parse_run_id(RUN.upper()) == RUN


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        RUN[:-1],
        RUN + "0",
        RUN.replace("-", ""),
        "0192f0c1-7a3e-4c21-8f00-3b1d6a9c4e55",
        "0192f0c1-7a3e-7c21-cf00-3b1d6a9c4e55",
        f"{RUN}\n",
    ],
)
def test_what_is_not_a_uuid7_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="UUIDv7"):
        parse_run_id(text)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=32))
def test_a_made_id_parses_and_carries_its_time(unix_ms: int, noise: bytes) -> None:
    made = uuid7(unix_ms, noise)
    assert parse_run_id(made) == made
    assert unix_ms_of(made) == unix_ms


@given(st.integers(0, 2**47), st.integers(1, 2**40))
def test_ids_sort_by_time(earlier: int, later_by: int) -> None:
    assert uuid7(earlier, b"\xff" * 10) < uuid7(earlier + later_by, b"\x00" * 10)


def test_a_derived_id_follows_from_its_parts_alone() -> None:
    assert derive_run_id(1, "a", "b") == derive_run_id(1, "a", "b")
    assert derive_run_id(1, "a", "b") != derive_run_id(1, "ab")
    assert derive_run_id(1, "a", "b") != derive_run_id(2, "a", "b")


def test_a_child_is_another_run_of_the_same_moment() -> None:
    child = child_run_id(RUN, CallId("0:1"))
    assert child == child_run_id(RUN, CallId("0:1"))
    assert child not in (RUN, child_run_id(RUN, CallId("0:2")))
    assert unix_ms_of(child) == unix_ms_of(RUN)


def test_the_idempotency_key_is_the_same_for_every_attempt_of_a_call() -> None:
    assert idempotency_key(RUN, CallId("0:1")) == f"{RUN}/0:1"


def test_partitions_are_those_of_the_server_s_transform() -> None:
    """FNV-1a, 32 bits, over the token's bytes: fixed vectors, because stored runs depend on it."""
    assert [partition_of(RunId(text), 10) for text in ("", "a", "foobar")] == [2166136261 % 10, 0xE40C292C % 10, 0xBF9CF968 % 10]
    assert {partition_of(uuid7(n * 1000, bytes([n]) * 10), 8) for n in range(200)} == set(range(8))


def test_digests_are_sha256() -> None:
    assert digest_of(b"a", b"b") == hashlib.sha256(b"ab").hexdigest()
    first = chain_digest("", b"[1]")
    assert first == hashlib.sha256(b"[1]").hexdigest()[:32]
    assert chain_digest(first, b"[2]") == hashlib.sha256(first.encode() + b"[2]").hexdigest()[:32]
