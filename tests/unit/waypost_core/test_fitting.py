"""Whether a value fits a schema, in words for people."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost_core.fitting import problem_of


class Limit(msgspec.Struct):
    amount: Annotated[int, msgspec.Meta(gt=0, le=1_000)]
    currency: Literal["EUR", "USD"]
    until: date | None = None
    tags: list[str] = []


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    limit: Limit | None = None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"amount": 5, "currency": "EUR"}, ""),
        ({"amount": 5, "currency": "EUR", "until": "2027-01-31", "tags": ["a"]}, ""),
        ({"amount": "ten", "currency": "EUR"}, "amount: 'ten' is not a whole number"),
        ({"amount": 0, "currency": "EUR"}, "amount: 0 is not above 0"),
        ({"amount": 5_000, "currency": "EUR"}, "amount: 5000 is above 1000"),
        ({"amount": 5, "currency": "GBP"}, "currency: 'GBP' is none of 'EUR', 'USD'"),
        ({"currency": "EUR"}, "amount: is missing"),
        ({"amount": 5, "currency": "EUR", "tags": ["a", 7]}, "tags[1]: 7 is not a text"),
        ({"amount": 5, "currency": "EUR", "until": "tomorrow"}, "until: 'tomorrow' is no date"),
        ([], "[] is not an object"),
    ],
)
def test_what_does_not_fit_is_said(value: Any, problem: str) -> None:
    assert problem_of(msgspec.json.schema(Limit), value) == problem


def test_optional_structs_and_unknown_fields() -> None:
    schema = msgspec.json.schema(Strict)
    assert problem_of(schema, {"limit": None}) == ""
    assert problem_of(schema, {"limit": {"amount": 5, "currency": "x"}}) == "limit.currency: 'x' is none of 'EUR', 'USD'"
    assert problem_of(schema, {"limits": 1}) == "limits: 1 is not expected"


def test_a_schema_that_refers_to_itself_ends() -> None:
    assert "nested deeper" in problem_of({"$ref": "#"}, 1)


KINDS: list[Any] = [int, float, str, bool, list[int], dict[str, int], Limit, int | None, Literal["a", 1], tuple[int, str]]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2_000) | st.floats(-5, 5) | st.sampled_from(["a", "EUR", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["amount", "currency", "a"]), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(KINDS), VALUES)
def test_what_msgspec_takes_is_not_refused(kind: Any, value: Any) -> None:
    try:
        msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except msgspec.ValidationError:
        return
    assert problem_of(msgspec.json.schema(kind), value) == ""
