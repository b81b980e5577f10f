"""Tools whose code is a request to somebody else's system: over HTTP, from an OpenAPI document, on an MCP server.

Their arguments and results are described by a type or by a JSON Schema instead of a function's annotations. This module owns that
difference; what is requested is an `Action`. Results come from outside and are labelled so.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast

import msgspec
from msgspec import Raw, Struct

from waypost._threads import in_thread
from waypost.conversion import decode_value, encode_value, schema_of
from waypost.schemas import Schema
from waypost.tool_context import NOT_DONE, NotDone, ToolContext
from waypost.tools import Tool, ToolPolicy
from waypost_proto.errors import BadInput, ContractError
from waypost_proto.registry import ToolDefinition


class Action(Protocol):
    """What a tool does."""

    async def run(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> Any:
        """Carry a call out; the result as values that JSON can carry. Raises as a tool's function does."""
        ...

    @property
    def resource(self) -> AbstractAsyncContextManager[object] | None:
        """What is held open for it, see `Tool.resource`."""
        ...


class Arguments(Protocol):
    """What a tool takes."""

    names: tuple[str, ...] | None
    """The arguments by name; None if any may come."""

    def bind(self, what: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The values of a call, to be encoded as a JSON object. Raises `TypeError` as a call would."""
        ...

    def decode(self, what: str, body: bytes) -> dict[str, Any]:
        """The arguments by name, checked. Raises `BadInput` with the path and the value."""
        ...

    def schema(self, what: str) -> Raw: ...


class TypedArguments:
    """Arguments that are the fields of a Struct (or dataclass, or TypedDict)."""

    def __init__(self, what: str, kind: Any) -> None:
        try:
            fields = msgspec.inspect.type_info(kind)
        except TypeError as error:
            raise BadInput(f"{what}: args={kind!r} is no type that JSON can carry: {error}") from error
        known = getattr(fields, "fields", None)
        if known is None:
            raise BadInput(f"{what}: args={kind!r} must be a Struct, dataclass or TypedDict: its fields are the arguments")
        self.kind = kind
        self.names: tuple[str, ...] | None = tuple(field.encode_name for field in known)

    def bind(self, what: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if len(args) == 1 and not kwargs:
            return args[0]
        if args:
            raise TypeError(f"{what} takes one {getattr(self.kind, '__name__', self.kind)}, or its fields by name")
        try:
            return msgspec.convert(kwargs, self.kind, from_attributes=True)
        except msgspec.ValidationError as error:
            raise TypeError(f"{what}: {error}") from error

    def decode(self, what: str, body: bytes) -> dict[str, Any]:
        return cast("dict[str, Any]", msgspec.to_builtins(decode_value(f"an argument of {what}", self.kind, body)))

    def schema(self, what: str) -> Raw:
        return schema_of(f"{what}: a parameter", self.kind)


class SchemaArguments:
    """Arguments that a JSON Schema of type `object` describes."""

    def __init__(self, schema: Schema) -> None:
        self.checked = schema
        document = schema.document if isinstance(schema.document, Mapping) else {}
        properties = document.get("properties")
        closed = document.get("additionalProperties") is False and isinstance(properties, Mapping) and "$ref" not in document
        self.names: tuple[str, ...] | None = tuple(cast("Mapping[str, Any]", properties)) if closed else None

    def bind(self, what: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if not args:
            given: Any = dict(kwargs)
        elif len(args) == 1 and not kwargs:
            given = args[0]
        else:
            raise TypeError(f"{what} takes its arguments by name, or one mapping of them")
        if self.names is not None and isinstance(given, Mapping):
            unknown = [name for name in given if name not in self.names]
            if unknown:
                raise TypeError(f"{what} got no parameter {unknown[0]!r}; it takes ({', '.join(self.names)})")
        return given

    def decode(self, what: str, body: bytes) -> dict[str, Any]:
        value: dict[str, Any] = decode_value(f"arguments of {what}", dict[str, Any], body)
        problems = self.checked.problems(value)
        if problems:
            raise BadInput(f"arguments of {what} do not fit: {'; '.join(problems)}")
        return value

    def schema(self, what: str) -> Raw:  # noqa: ARG002 - the protocol's
        return Raw(self.checked.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A tool's description, what it takes and what it gives. `result_schema` describes `returns` where that is no type of ours."""

    description: str
    arguments: Arguments
    returns: Any = Any
    result_schema: Schema | None = None


class OutsideTool(Tool[..., Any]):
    """A tool on somebody else's system. Call it with its arguments by name."""

    outside = True

    def __init__(self, name: str, policy: ToolPolicy, action: Action, shape: Shape, *, module: str) -> None:
        super().__init__(name, policy, action.run)
        self.action = action
        self.shape = shape
        self.module = module

    def bind(self, *args: Any, **kwargs: Any) -> bytes:
        """See `Tool.bind`; one value with all arguments is taken too."""
        what = f"tool {self.name!r}"
        return encode_value(f"arguments of {what}", self.shape.arguments.bind(what, args, kwargs))

    @property
    def returns(self) -> Any:
        return self.shape.returns

    @property
    def resource(self) -> AbstractAsyncContextManager[object] | None:
        return self.action.resource

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Make the request here and now, for tests. A `ToolContext` may be given first. Arguments are checked as the gateway does."""
        given = list(args)
        ctx = given.pop(0) if given and isinstance(given[0], ToolContext) else ToolContext(tool=self.name)
        result = await self.invoke(ctx, self.bind(*given, **kwargs))
        return decode_value(f"the result of tool {self.name!r}", self.returns, result)

    def definition(self, build: str = "") -> ToolDefinition:
        """What the gateway announces."""
        shape, what = self.shape, f"tool {self.name!r}"
        result_schema = (
            Raw(shape.result_schema.text) if shape.result_schema is not None else schema_of(f"{what}: its result", shape.returns)
        )
        return self._described(build, shape.description, shape.arguments.schema(what), result_schema)

    def decode_arguments(self, args: bytes) -> dict[str, Any]:
        """A JSON object to arguments by name, checked. Raises `BadInput` with the path and the value."""
        return self.shape.arguments.decode(f"tool {self.name!r}", args)

    async def run(self, ctx: ToolContext, arguments: dict[str, Any]) -> bytes:
        """See `Tool.run`."""
        return self._encode_result(await self.action.run(ctx, arguments))

    async def ask_reconcile(self, ctx: ToolContext, args: bytes) -> bytes | NotDone:
        """See `Tool.ask_reconcile`; the hook gets the arguments by name."""
        hook = self.policy.reconcile
        if hook is None:
            raise ContractError(f"tool {self.name!r} has no reconcile hook")
        arguments = self.decode_arguments(args)
        if inspect.iscoroutinefunction(hook):
            result = await hook(ctx, **arguments)
        else:
            result = await in_thread(hook, ctx, **arguments)
            result = await result if inspect.isawaitable(result) else result
        return NOT_DONE if result is NOT_DONE else self._encode_result(result)


class ToolSet(Mapping[str, OutsideTool]):
    """Several tools from one place, by name: `bank["get-account"]`, `@agent(tools=[*bank.values()])`. A module that has one hosts all."""

    def __init__(self, tools: Iterable[OutsideTool], *, module: str) -> None:
        self.module = module
        self._tools = {tool.name: tool for tool in tools}

    def __getitem__(self, name: str) -> OutsideTool:
        try:
            return self._tools[name]
        except KeyError:
            raise KeyError(f"no tool {name!r}; there is {', '.join(self._tools) or 'none'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __repr__(self) -> str:
        return f"<tools {', '.join(self._tools)}>"


def calling_module(depth: int = 2) -> str:
    """The name of the module that defines a tool: that of the function's caller."""
    return str(sys._getframe(depth).f_globals.get("__name__", ""))


def arguments_of(what: str, args: Any) -> Arguments:
    """From a type, or from a JSON Schema as a dict. Raises `BadInput`."""
    if isinstance(args, Mapping):
        schema = Schema(f"{what}: args", args)
        schema.check()
        return SchemaArguments(schema)
    return TypedArguments(what, args)


class NoArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of a tool that takes none."""


@asynccontextmanager
async def resources_of(tools: Iterable[Tool[..., Any]]) -> AsyncIterator[None]:
    """Hold open what the tools need, each resource once, and close it all in the end. Raises what opening raises (`Misconfigured`)."""
    async with AsyncExitStack() as stack:
        opened: set[int] = set()
        for tool in tools:
            resource = tool.resource
            if resource is not None and id(resource) not in opened:
                opened.add(id(resource))
                await stack.enter_async_context(resource)
        yield
