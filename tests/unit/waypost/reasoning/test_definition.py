"""Definitions: what can be said, what cannot, and who hosts it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.waypost.reasoning.fake import Fake
from waypost import ReasoningAgent, hosted, tool
from waypost.reasoning import Questions
from waypost_proto.errors import BadInput


@tool(effect="read")
async def look(key: str) -> str:
    return key


def thinker(*lines: Any, **options: Any) -> ReasoningAgent[Any, Any]:
    return ReasoningAgent(name="thinker", model=Fake(*lines), instructions="You think.", **options)


def test_it_is_hosted_by_the_module_that_defines_it() -> None:
    import tests.unit.waypost.reasoning.a_module as module

    agents, _ = hosted(module)
    assert [found.name for found in agents] == ["thinker", "other"]
    assert agents[0].definition("b").kind == "reasoning"


def test_variants_are_the_same_agent() -> None:
    made = thinker("x")
    assert made.using(timeout=3).origin is made.origin
    assert thinker("x").origin is not made.origin


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model": "gpt"}, TypeError, "no model"),
        ({"name": "No Name"}, BadInput, "No Name"),
        ({"instructions": 3}, TypeError, "instructions"),
        ({"tools": [print]}, TypeError, "neither a tool nor an agent"),
        ({"handoffs": [look]}, TypeError, "not an agent"),
        ({"max_turns": 0}, ValueError, "max_turns"),
        ({"ask": Questions}, TypeError, "ask"),
    ],
)
def test_definitions_that_cannot_work_say_why(options: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ReasoningAgent(**{"name": "a", "model": Fake("x"), "instructions": "x", **options})


def test_two_things_under_one_name() -> None:
    with pytest.raises(BadInput, match="twice"):
        thinker("x", tools=[look, look.using(timeout=1)]).definition("b")


def test_a_name_that_is_ours() -> None:
    with pytest.raises(BadInput, match="transfer-to-"):
        thinker("x", tools=[tool(effect="read", name="transfer-to-me")(lambda key: key)]).definition("b")


def test_bind_takes_one_input() -> None:
    assert thinker("x").bind("hello") == b'"hello"'
    assert thinker("x", input=None).bind() == b"null"
    with pytest.raises(TypeError):
        thinker("x").bind()
