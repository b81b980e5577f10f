"""JSON Schemas that come from outside: what they cannot do to us, and what they say of values."""

from __future__ import annotations

from typing import Any

import pytest

from waypost.schemas import MAX_PROBLEMS, Schema
from waypost_proto.errors import BadInput


def test_problems_have_paths_and_are_bounded() -> None:
    schema = Schema("s", {"type": "object", "properties": {"items": {"items": {"type": "integer"}}}, "required": ["a"]})
    assert schema.problems({"a": 1, "items": [1, 2]}) == []
    assert schema.problems({"items": [1, "x"]}) == ['"a" is a required property at $', '"x" is not of type "integer" at $.items[1]']
    assert len(schema.problems({"items": ["x"] * 100})) == MAX_PROBLEMS


def test_a_long_value_is_cut_in_the_message() -> None:
    (problem,) = Schema("s", {"type": "integer"}).problems("x" * 10_000)
    assert len(problem) < 300
    assert "is not of type" in problem


def test_a_pattern_that_would_take_for_ever_does_not() -> None:
    assert Schema("s", {"pattern": "^(a+)+$"}).problems("a" * 5_000 + "!") != []
    with_look_around = Schema("s", {"pattern": "^(?=(a+)+b)(a+)+$"})
    assert with_look_around.problems("a" * 5_000) != []
    assert Schema("s", {"pattern": "^(?!x)[a-z]+$"}).problems("abc") == []


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "http://169.254.169.254/x"}, "outside of the document"),
        ({"$ref": "https://json-schema.org/other"}, "outside of the document"),
        ({"$ref": "file:///etc/passwd"}, "outside of the document"),
        ({"$ref": "#/$defs/none"}, "no usable JSON Schema"),
        ({"type": "nonsense"}, "no usable JSON Schema"),
        ({"pattern": "("}, "no usable JSON Schema"),
        ({"minimum": "x"}, "no usable JSON Schema"),
    ],
)
def test_schemas_that_cannot_be_used(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why):
        Schema("tool 't': args", schema).check()


def test_size_and_depth_are_bounded() -> None:
    with pytest.raises(BadInput, match="at most"):
        Schema("s", {"description": "x" * (1 << 21)})
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"not": deep}
    with pytest.raises(BadInput, match="deep"):
        Schema("s", deep)


def test_schemas_that_refer_to_themselves() -> None:
    schema = Schema(
        "s", {"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}, "n": {"type": "integer"}}}}}
    )
    assert schema.problems({"next": {"next": {"n": 1}}}) == []
    assert schema.problems({"next": {"n": "x"}}) == ['"x" is not of type "integer" at $.next.n']
