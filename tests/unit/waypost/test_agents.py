"""Defining agents, and what the worker announces."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from waypost import Approval, Budget, Context, agent, tool
from waypost_proto.codec import decode


class Case(Struct):
    id: str


@tool(effect="read")
async def look(what: str) -> str:
    return what


@agent
async def helper(ctx: Context, number: int) -> str:
    """Helps.

    A lot.
    """
    return str(number)


@agent(tools=[look, helper], agents=[helper], budget=Budget(max_steps=5), name="chief", version="2")
async def main_agent(ctx: Context, case: Case) -> list[int]:
    return []


def test_the_definition_says_everything_the_coordinator_needs() -> None:
    made = main_agent.definition("b1")
    assert (made.name, made.build, made.version, made.kind) == ("chief", "b1", "2", "function")
    assert (made.tools, made.agents, made.budget) == (["look"], ["helper"], Budget(max_steps=5))
    assert decode(dict, made.input_schema)["$ref"] == "#/$defs/Case"
    assert decode(dict, made.output_schema) == {"type": "array", "items": {"type": "integer"}}
    assert (helper.name, helper.definition("").description) == ("helper", "Helps.")


def test_an_agent_without_input_takes_null() -> None:
    @agent()
    async def alone(ctx: Context) -> None: ...

    assert decode(dict, alone.definition("").input_schema) == {"type": "null"}
    assert alone.bind() == b"null"
    assert helper.bind(3) == b"3"
    assert helper.bind(number=3) == b"3"


def test_an_input_may_have_a_default() -> None:
    @agent
    async def optional(ctx: Context, number: int = 4) -> int:
        return number

    ctx: Any = None
    for body, expected in ((b"null", 4), (b"5", 5)):
        coroutine = optional.start(ctx, body)
        with pytest.raises(StopIteration) as stop:
            coroutine.send(None)
        assert stop.value.value == expected


def test_using_makes_a_variant() -> None:
    variant = helper.using(budget=Budget(max_steps=1)).using(timeout=5)
    assert (variant.options.budget, variant.options.timeout_seconds) == (Budget(max_steps=1), 5.0)
    assert helper.options.budget is None


def sync(ctx: Context) -> None: ...


async def no_context(case: Case) -> None: ...


async def two_inputs(ctx: Context, one: int, two: int) -> None: ...


@pytest.mark.parametrize(
    ("define", "message"),
    [
        (lambda: agent(sync), "needs an `async def` function"),
        (lambda: agent(no_context).definition(""), r"must be `async def f\(ctx: Context, input: SomeType\)`"),
        (lambda: agent(two_inputs).definition(""), r"it takes \(one, two\)"),
        (lambda: agent(tools=[sync]), r"decorate it with @tool\(effect=…\)"),
        (lambda: agent(agents=[look]), "which is not an agent"),
    ],
)
def test_what_is_wrong_with_a_definition_is_said(define: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        define()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Approval(role=""), ValueError, "who may approve"),
        (lambda: Approval(role="officer", expires=-1), ValueError, "positive"),
        (lambda: Approval(role="officer", expires=True), TypeError, "give seconds"),
    ],
)
def test_an_approval_must_make_sense(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
