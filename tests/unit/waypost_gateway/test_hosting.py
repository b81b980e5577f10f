"""Which tools a gateway hosts."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from waypost import remote_tool, tool
from waypost.http import http_tool
from waypost_gateway.hosting import definitions_of, tools_of
from waypost_proto.errors import Misconfigured


def module(name: str, **things: object) -> ModuleType:
    """A module in which these tools are defined."""
    made = ModuleType(name)
    for key, value in things.items():
        if getattr(value, "function", None) is not None:
            value.module = name
        setattr(made, key, value)
    return made


def reader(name: str) -> Any:
    @tool(effect="read", name=name)
    async def read(amount: int) -> int:
        return amount

    return read


def test_what_is_defined_in_the_modules_is_hosted_and_nothing_else() -> None:
    elsewhere = reader("elsewhere")
    mine = module("a", one=reader("one"), two=reader("two"), far=remote_tool("far", int, int))
    mine.imported = elsewhere  # type: ignore[attr-defined]
    found = tools_of([mine, module("b", three=reader("three"))])
    assert [each.name for each in found] == ["one", "three", "two"]


def test_the_same_tool_under_two_names_is_one() -> None:
    one = reader("one")
    made = module("a", one=one)
    made.variant = one.using(timeout=3)  # type: ignore[attr-defined]
    assert [each.name for each in tools_of([made, made])] == ["one"]


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(Misconfigured, match="two tools named 'one'"):
        tools_of([module("a", x=reader("one")), module("b", y=reader("one"))])


def test_a_module_without_tools_is_refused() -> None:
    with pytest.raises(Misconfigured, match="no tools are defined in a, b"):
        tools_of([module("a"), module("b")])
    assert tools_of([module("a")], allow_empty=True) == []


def test_a_type_without_a_json_form_is_refused_at_the_start() -> None:
    class Opaque:
        """Nothing that JSON knows."""

    @tool(effect="read")
    async def strange(thing: Opaque) -> int:
        return 1

    with pytest.raises(Misconfigured, match="strange"):
        definitions_of([strange], "b1")


def test_more_definitions_than_an_announcement_carries_are_told() -> None:
    large = http_tool("large", "GET", "https://x.example/", effect="read", args={"type": "object", "description": "x" * 600_000})
    with pytest.raises(Misconfigured, match=r"1 tools take \d+ bytes.*'large'.*include="):
        definitions_of([large], "b")
