"""Hosting tools that are requests: what a module defines, and what is held open for it."""

from __future__ import annotations

import types
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from waypost import ToolContext, hosted, tool
from waypost.outside_tools import NoArguments, OutsideTool, Shape, ToolSet, TypedArguments, resources_of
from waypost.tools import ToolPolicy
from waypost_proto.errors import Misconfigured
from waypost_proto.values import Effect


class Held:
    """A resource that says when it is open."""

    def __init__(self, *, broken: bool = False) -> None:
        self.open = 0
        self.opened = 0
        self.broken = broken

    async def __aenter__(self) -> None:
        if self.broken:
            raise Misconfigured("no")
        self.open += 1
        self.opened += 1

    async def __aexit__(self, *exc: object) -> None:
        self.open -= 1


class Echo:
    def __init__(self, resource: Any) -> None:
        self._resource = resource

    @property
    def resource(self) -> AbstractAsyncContextManager[object] | None:
        return self._resource  # type: ignore[no-any-return]

    async def run(self, ctx: ToolContext, arguments: Any) -> Any:
        return {"tool": ctx.tool, **arguments}


def made(name: str, module: str = "m", resource: Any = None) -> OutsideTool:
    shape = Shape(description="", arguments=TypedArguments(name, NoArguments))
    return OutsideTool(name, ToolPolicy(effect=Effect.READ), Echo(resource), shape, module=module)


def module_of(**values: Any) -> types.ModuleType:
    module = types.ModuleType("m")
    module.__dict__.update(values)
    return module


def test_a_module_hosts_its_tools_and_sets_of_tools() -> None:
    first, second = made("a"), made("b")
    module = module_of(first=first, rest=ToolSet([second], module="m"), again=first, variant=first.using(timeout=1))
    assert hosted(module)[1] == [first, second]


def test_what_was_imported_is_not_hosted() -> None:
    assert hosted(module_of(a=made("a", "other"), rest=ToolSet([made("b", "other")], module="other")))[1] == []


def test_two_of_one_name_are_told() -> None:
    @tool(effect="read", name="a")
    async def a() -> None: ...

    a.module = "m"
    for other in (a, made("a")):
        with pytest.raises(Misconfigured, match="two tools named 'a'"):
            hosted(module_of(x=ToolSet([made("a")], module="m"), y=other))


async def test_each_resource_is_opened_once_and_closed() -> None:
    one, two = Held(), Held()
    async with resources_of([made("a", resource=one), made("b", resource=one), made("c", resource=two), made("d")]):
        assert (one.open, two.open) == (1, 1)
    assert (one.open, two.open, one.opened) == (0, 0, 1)


async def test_what_was_opened_is_closed_when_another_cannot_be() -> None:
    one = Held()
    with pytest.raises(Misconfigured):
        async with resources_of([made("a", resource=one), made("b", resource=Held(broken=True))]):
            raise AssertionError
    assert (one.open, one.opened) == (0, 1)
