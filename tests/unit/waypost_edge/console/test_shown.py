"""What people read."""

from __future__ import annotations

import math

import pytest
from msgspec import UNSET, Raw

from waypost_edge.console import shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (0.0004, "<1 ms"),
        (0.25, "250 ms"),
        (3.21, "3.2 s"),
        (42.9, "43 s"),
        (61, "1 min 1 s"),
        (7_260, "2 h 1 min"),
        (180_000, "2 d 2 h"),
        (None, "–"),
        (math.inf, "–"),
    ],
)
def test_lengths(seconds: float | None, text: str) -> None:
    assert shown.span(seconds) == text


@pytest.mark.parametrize(
    ("micros", "text"), [(0, "$0"), (None, "–"), (12, "$0.00001"), (10_700, "$0.0107"), (500_000, "$0.50"), (12_345_678, "$12.35")]
)
def test_money(micros: int | None, text: str) -> None:
    assert shown.money(micros) == text


def test_json_is_indented_and_cut_and_never_raises() -> None:
    assert shown.json_text(Raw(b'{"a":1}')) == '{\n  "a": 1\n}'
    assert shown.json_text(b"not json \xff") == "not json �"
    assert shown.json_text(UNSET) == ""
    assert len(shown.json_text(b'"' + b"x" * 500_000 + b'"')) < shown.MAX_JSON_CHARS + 100


def test_times_of_whatever_is_stored() -> None:
    assert shown.clock(1e300) == "9999-12-31 23:59:59 UTC"
    assert shown.unix("never") is None
    assert shown.unix("1970-01-01T00:00:10Z") == 10
    assert shown.ago(90, 100) == "10 s ago"
    assert shown.ago(7_300, 100) == "in 2 h"
