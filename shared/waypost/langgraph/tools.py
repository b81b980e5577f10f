"""LangChain tools and Waypost tools: each becomes the other.

`durable(tool, effect=…)` makes a LangChain tool one that the gateway runs; `langchain_tools(…)` makes Waypost's tools ones that a model can
be told of and a `ToolNode` can call; `in_node(tool)` leaves a tool to the node, for those that read or change the graph's state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from langchain_core.tools import BaseTool, StructuredTool
from msgspec import Raw
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from waypost.conversion import decode_value, encode_value
from waypost.metering import CURRENT
from waypost.options import Breaker, Rate, Retry, Seconds
from waypost.outside_tools import calling_module
from waypost.tool_context import ToolContext
from waypost.tools import EffectName, Tool, ToolPolicy
from waypost.tools import tool as define
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput
from waypost_proto.ids import check_name
from waypost_proto.registry import ToolDefinition
from waypost_proto.values import Effect

CONTEXT = "waypost"
"""Where a LangChain tool finds its `ToolContext`: `config["configurable"]["waypost"]`, for a parameter `config: RunnableConfig`."""


class LangChainTool(Tool[..., Any]):
    """A LangChain tool that the gateway runs. Made by `durable`."""

    def __init__(self, name: str, policy: ToolPolicy, inner: BaseTool, *, module: str) -> None:
        super().__init__(name, policy, inner.invoke)
        self.inner = inner
        self.module = module
        self._code_of = inner.model_copy(update={"handle_tool_error": False, "handle_validation_error": False})

    @property
    def origin(self) -> object:
        return self.inner

    @property
    def returns(self) -> Any:
        return Any

    def bind(self, *args: Any, **kwargs: Any) -> bytes:
        """Arguments by name, or one mapping of them."""
        if args and (kwargs or len(args) != 1 or not isinstance(args[0], Mapping)):
            raise TypeError(f"tool {self.name!r} takes its arguments by name, or one mapping of them")
        return encode_arguments(self.name, dict(args[0]) if args else kwargs)

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = list(args)
        ctx = given.pop(0) if given and isinstance(given[0], ToolContext) else ToolContext(tool=self.name)
        return decode_value(f"the result of tool {self.name!r}", Any, await self.invoke(ctx, self.bind(*given, **kwargs)))

    def definition(self, build: str = "") -> ToolDefinition:
        return self._described(
            build, " ".join(self.inner.description.split("\n\n", 1)[0].split()), Raw(encode(schema_of(self.inner))), Raw(b"{}")
        )

    def decode_arguments(self, args: bytes) -> dict[str, Any]:
        """A JSON object to arguments by name, checked. Raises `BadInput`."""
        values: dict[str, Any] = decode_value(f"arguments of tool {self.name!r}", dict[str, Any], args)
        model = self.inner.tool_call_schema
        if isinstance(model, type) and issubclass(model, BaseModel):
            try:
                model.model_validate(values)
            except ValueError as error:
                raise BadInput(f"arguments of tool {self.name!r} do not fit: {error}") from error
        return values

    async def run(self, ctx: ToolContext, arguments: dict[str, Any]) -> bytes:
        CURRENT.set(ctx.meter)
        config: Any = {"configurable": {CONTEXT: ctx}}
        if self.inner.response_format == "content_and_artifact":
            call: Any = {"name": self.inner.name, "args": arguments, "id": ctx.idempotency_key or "call", "type": "tool_call"}
            message = await self._code_of.ainvoke(call, config)
            result: Any = {"content": message.content, "artifact": message.artifact}
        else:
            result = await self._code_of.ainvoke(arguments, config)
        return self._encode_result(to_jsonable_python(result))


def durable(  # noqa: PLR0913 - what a definition can say, by keyword, as in `@tool`
    inner: BaseTool,
    *,
    effect: EffectName | Effect,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Seconds = 30.0,
    reconcile: Any = None,
    concurrency: int = 64,
    rate: str | Rate | None = None,
    breaker: Breaker | None = None,
    taint: tuple[str, ...] = (),
    secrets: tuple[str, ...] = (),
) -> LangChainTool:
    """A LangChain tool as one that the gateway runs: `durable(search, effect="read")`. `effect` and the other options are those of `@tool`.

    Bind the model and fill the `ToolNode` with the LangChain tool itself, and list what this returns in `LangGraphAgent(tools=[…])`. Its
    name here is the LangChain tool's with `-` for `_`. Raises `TypeError` for a tool that takes something of the graph (state, store,
    runtime): the gateway does not have that; leave it to the node with `in_node`.
    """
    if not isinstance(inner, BaseTool):
        raise TypeError(f"durable(…) takes a LangChain tool, not {inner!r}")
    injected = _injected(inner)
    if injected:
        raise TypeError(
            f"tool {inner.name!r} takes {', '.join(sorted(injected))} from the graph, which the gateway does not have: list it with "
            "in_node(…) to run it in its node, or take what it needs as an argument"
        )
    decorate = define(
        effect=effect,
        retry=retry,
        timeout=timeout,
        reconcile=reconcile,
        concurrency=concurrency,
        rate=rate,
        breaker=breaker,
        taint=taint,
        secrets=secrets,
    )
    return LangChainTool(name or waypost_name(inner.name), _policy_of(decorate), inner, module=calling_module())


def _policy_of(decorate: Any) -> ToolPolicy:
    def unnamed() -> None: ...

    policy: ToolPolicy = decorate(unnamed).policy
    return policy


class InNode:
    """A LangChain tool that runs in its node: code of the graph, nothing that the gateway knows. Made by `in_node`."""

    def __init__(self, tool: BaseTool) -> None:
        if not isinstance(tool, BaseTool):
            raise TypeError(f"in_node(…) takes a LangChain tool, not {tool!r}")
        self.tool = tool


def in_node(tool: BaseTool) -> InNode:
    """Leave a LangChain tool to the node that calls it: one that takes the graph's state or returns a `Command`.

    It is code of the node like any other: it runs again when the node does. What it asks of models, tools and `step` is recorded.
    """
    return InNode(tool)


class GatewayTool(StructuredTool):
    """A Waypost tool for LangChain. Made by `langchain_tools`."""

    waypost_tool: Any = None


def langchain_tools(*tools: Tool[..., Any]) -> list[BaseTool]:
    """Waypost's tools as LangChain's, for `bind_tools`, `ToolNode` and `create_agent`. Their names have `_` for `-`.

    In a run they are called through the gateway; outside of one (a test of the graph alone) their functions run here and now.
    """
    return [_adapted(tool) for tool in tools]


def _adapted(tool: Tool[..., Any]) -> BaseTool:
    if isinstance(tool, LangChainTool):
        return tool.inner
    definition = tool.definition()

    async def run(**arguments: Any) -> Any:
        body = await tool.invoke(ToolContext(tool=tool.name), encode_arguments(tool.name, arguments))
        return msgspec.json.decode(body)

    return GatewayTool(
        name=tool.name.replace("-", "_"),
        description=definition.description or tool.name,
        args_schema=flat(msgspec.json.decode(definition.args_schema)),
        coroutine=run,
        func=None,
        waypost_tool=tool,
    )


def flat(schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON Schema of an object with its properties at the top, as models are told of it."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return {"type": "object", "properties": {}, **schema}
    known = dict(schema.get("$defs", {}))
    top = known.pop(reference.rpartition("/")[2], {})
    return {"type": "object", "properties": {}, **top} | ({"$defs": known} if known else {})


def schema_of(tool: BaseTool) -> dict[str, Any]:
    """The JSON Schema of what a LangChain tool takes from a model."""
    model = tool.tool_call_schema
    found: dict[str, Any] = model if isinstance(model, dict) else model.model_json_schema()  # type: ignore[union-attr]
    return found


def waypost_name(name: str) -> str:
    """`search_orders` → `search-orders`. Raises `BadInput` for what cannot be a name."""
    return check_name("tool", name.strip("_").replace("_", "-").lower())


def encode_arguments(name: str, arguments: Mapping[str, Any]) -> bytes:
    """Arguments as the JSON that a call carries. Raises `BadInput`."""
    what = f"arguments of tool {name!r}"
    try:
        plain = to_jsonable_python(dict(arguments))
    except ValueError as error:
        raise BadInput(f"{what} cannot be written as JSON: {error}") from error
    return encode_value(what, plain)


def _injected(tool: BaseTool) -> set[str]:
    whole = tool.get_input_schema()
    told = tool.tool_call_schema
    if isinstance(tool.args_schema, dict) or isinstance(told, dict):
        return set()
    return set(whole.model_fields) - set(told.model_fields)  # type: ignore[union-attr]


__all__ = [
    "CONTEXT",
    "GatewayTool",
    "InNode",
    "LangChainTool",
    "durable",
    "encode_arguments",
    "flat",
    "in_node",
    "langchain_tools",
    "schema_of",
    "waypost_name",
]
