"""Tools: functions that touch the world, run by the gateway. `@tool` defines one, `remote_tool` names one elsewhere.

The three effects decide what may be repeated: a `read` changes nothing, an `idempotent` tool may run twice under one
idempotency key, and an `unsafe` one may not: it is retried only after `NotExecuted`, anything else is in doubt.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import cached_property
from types import MappingProxyType
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from msgspec import Raw, Struct

from waypost._threads import in_thread
from waypost.conversion import decode_value, encode_result, encode_value, schema_of
from waypost.metering import CURRENT, Dollars, Usage
from waypost.options import Approval, Breaker, Rate, Retry, Seconds, breaker_of, labels_of, rate_of, seconds_of
from waypost.signatures import Signature
from waypost.targets import Target, description_of, name_of
from waypost.tool_context import NOT_DONE, NotDone, ToolContext
from waypost_proto.errors import BadInput, ContractError
from waypost_proto.limits import MAX_PAYLOAD_BYTES
from waypost_proto.registry import ToolDefinition
from waypost_proto.values import Effect

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")

EffectName = Literal["read", "idempotent", "unsafe"]
DEFAULT_TIMEOUT_SECONDS = 30.0
DEFAULT_CONCURRENCY = 64
OUTSIDE_TAINT = ("outside",)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class CallOptions(Struct, frozen=True, kw_only=True):
    """What `.using(…)` sets for one call of a tool."""

    approval: Approval | None = None
    timeout_seconds: float | None = None
    retry: Retry | None = None
    reserve: Usage | None = None


class ToolPolicy(Struct, frozen=True, kw_only=True):
    """What `@tool(…)` says of a tool besides its code."""

    effect: Effect
    retry: Retry = Retry()
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    concurrency: int = DEFAULT_CONCURRENCY
    reconcile: Callable[..., Any] | None = None
    reserve: Usage | None = None
    rate: Rate | None = None
    breaker: Breaker | None = None
    taint: tuple[str, ...] = ()
    max_result_bytes: int = MAX_PAYLOAD_BYTES
    settle_seconds: float | None = None
    secrets: tuple[str, ...] = ()


class Tool(Target[P, R_co]):
    """A tool. Call it plainly in a test (`await core_banking("x")`), through `ctx.call` in an agent.

    `function` is None for a tool whose code lives elsewhere (`remote_tool`). `outside`: its results come from a system that is not
    ours, and are labelled so.
    """

    outside: bool = False

    def __init__(
        self,
        name: str,
        policy: ToolPolicy,
        function: Callable[..., Any] | None,
        *,
        local_names: Mapping[str, Any] = _NOTHING,
        remote: tuple[Any, Any] | None = None,
        options: CallOptions | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self.function = function
        self.module = function.__module__ if function is not None else ""
        self.options = options or CallOptions()
        self._local_names = local_names
        self._remote = remote

    def __repr__(self) -> str:
        return f"<tool {self.name!r} {self.policy.effect.value}>"

    @property
    def origin(self) -> object:
        """What defines it: the same object for every `.using(…)` variant."""
        return self.function

    # -- for agents

    def using(
        self,
        *,
        approval: Approval | None = None,
        timeout: Seconds | None = None,
        retry: Retry | None = None,
        reserve: Usage | None = None,
    ) -> Tool[P, R_co]:
        """This tool with options for one call; what is None stays as it was. The tool itself is not changed."""
        now = self.options
        options = CallOptions(
            approval=approval if approval is not None else now.approval,
            timeout_seconds=seconds_of("timeout", timeout) if timeout is not None else now.timeout_seconds,
            retry=retry if retry is not None else now.retry,
            reserve=reserve if reserve is not None else now.reserve,
        )
        variant = copy(self)
        variant.options = options
        return variant

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        """The call's arguments as a JSON object by name, as `CallTool.args` carries it, defaults filled in.

        Raises `TypeError` for a call that the function would refuse, `BadInput` for values that are not JSON.
        """
        if self._remote is not None:
            if kwargs or len(args) != 1:
                raise TypeError(
                    f"tool {self.name!r} lives elsewhere: call it with one {getattr(self._remote[0], '__name__', self._remote[0])}"
                )
            return encode_value(f"arguments of tool {self.name!r}", args[0])
        return encode_value(f"arguments of tool {self.name!r}", self.signature.bind(args, kwargs))

    @property
    def returns(self) -> Any:
        """The declared type of the result; `Any` when the function does not say."""
        return self._remote[1] if self._remote is not None else self.signature.returns

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function here and now, for tests. A `ToolContext` may be given first; without one a test's is made."""
        function = self._code()
        given = list(args)
        if self.signature.has_context and not (given and isinstance(given[0], ToolContext)):
            given.insert(0, ToolContext(tool=self.name))
        result = function(*given, **kwargs)
        return cast("R_co", await result if inspect.isawaitable(result) else result)

    # -- for the gateway

    @property
    def effect(self) -> Effect:
        return self.policy.effect

    @property
    def taint(self) -> tuple[str, ...]:
        """Labels of what it returns: those it names, or `outside` where it is somebody else's system and names none."""
        return self.policy.taint or (OUTSIDE_TAINT if self.outside else ())

    @property
    def has_reconcile(self) -> bool:
        return self.policy.reconcile is not None

    @property
    def resource(self) -> AbstractAsyncContextManager[object] | None:
        """What the gateway holds open while it hosts the tool (connections, a server process). Tools may share one."""
        return None

    @cached_property
    def signature(self) -> Signature:
        """Read at first use, so that annotations may name types that are defined after the tool."""
        return Signature(f"tool {self.name!r}", self._code(), ToolContext, self._local_names)

    @cached_property
    def arguments(self) -> type[Struct]:
        """A Struct of the parameters; unknown arguments are refused."""
        return self.signature.as_struct(f"{self.name}-arguments")

    def definition(self, build: str = "") -> ToolDefinition:
        """What the gateway announces. Raises `TypeError` for annotations that have no JSON Schema."""
        return self._described(
            build,
            description_of(self._code()),
            schema_of(f"tool {self.name!r}: a parameter", self.arguments),
            schema_of(f"tool {self.name!r}: its result", self.returns),
        )

    def _described(self, build: str, description: str, args_schema: Raw, result_schema: Raw) -> ToolDefinition:
        policy = self.policy
        return ToolDefinition(
            name=self.name,
            effect=policy.effect,
            build=build,
            description=description,
            args_schema=args_schema,
            result_schema=result_schema,
            retry=policy.retry,
            timeout_seconds=policy.timeout_seconds,
            reconcile=policy.reconcile is not None,
            concurrency=policy.concurrency,
            reserve=policy.reserve.to_wire() if policy.reserve is not None else None,
            rate=policy.rate,
            breaker=policy.breaker,
            taint=self.taint,
            max_result_bytes=None if policy.max_result_bytes == MAX_PAYLOAD_BYTES else policy.max_result_bytes,
            settle_seconds=policy.settle_seconds,
        )

    def decode_arguments(self, args: bytes) -> dict[str, Any]:
        """A JSON object to arguments by name, checked. Raises `BadInput` with the path and the value."""
        struct = decode_value(f"an argument of tool {self.name!r}", self.arguments, args)
        return {name: getattr(struct, name) for name in self.signature.names}

    async def invoke(self, ctx: ToolContext, args: bytes) -> bytes:
        """Run the tool on JSON arguments and return its result as JSON.

        Raises `BadInput` before anything ran if `args` do not fit; what `run` raises.
        """
        return await self.run(ctx, self.decode_arguments(args))

    async def run(self, ctx: ToolContext, arguments: dict[str, Any]) -> bytes:
        """Run the tool on checked arguments and return its result as JSON.

        Raises `ResultNotEncodable` after it ran if the result is not JSON, or not what the function's annotation says (the effect
        took place); whatever the function raises. A plain function runs in a thread, which cancelling does not stop: its effect may
        still take place.
        """
        given = (ctx,) if self.signature.has_context else ()
        CURRENT.set(ctx.meter)
        result = await _run(self._code(), given, arguments)
        return self._encode_result(result)

    async def ask_reconcile(self, ctx: ToolContext, args: bytes) -> bytes | NotDone:
        """Ask the hook whether the effect took place: the result as JSON, or `NOT_DONE`; it raises if it cannot know.

        The hook is `reconcile(ctx, *same arguments)` and always gets the context.
        """
        hook = self.policy.reconcile
        if hook is None:
            raise ContractError(f"tool {self.name!r} has no reconcile hook")
        result = await _run(hook, (ctx,), self.decode_arguments(args))
        return NOT_DONE if result is NOT_DONE else self._encode_result(result)

    def _encode_result(self, result: object) -> bytes:
        what = f"the result of tool {self.name!r}"
        try:
            body = encode_result(what, result)
        except BadInput as error:
            raise ResultNotEncodable(str(error)) from error
        if self.returns is not Any and len(body) <= self.policy.max_result_bytes:
            try:
                decode_value(what, self.returns, body)
            except BadInput as error:
                raise ResultInvalid(str(error)) from error
        return body

    def _code(self) -> Callable[..., Any]:
        if self.function is None:
            raise ContractError(f"tool {self.name!r} was named with remote_tool: its code lives elsewhere")
        return self.function


class ResultNotEncodable(ContractError):
    """A tool ran and returned what cannot be written as JSON: for an unsafe tool the call is in doubt."""


class ResultInvalid(ResultNotEncodable):
    """A tool ran and returned something else than its annotation says: for an unsafe tool the call is in doubt."""


async def _run(function: Callable[..., Any], given: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(*given, **arguments)
    result = await in_thread(function, *given, **arguments)
    return await result if inspect.isawaitable(result) else result


class ToolDecorator(Protocol):
    """Turns a function, with or without a `ToolContext` first, into a `Tool`."""

    @overload
    def __call__(self, function: Callable[Concatenate[ToolContext, P], Coroutine[Any, Any, R]], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[ToolContext, P], R], /) -> Tool[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Tool[P, R]: ...


def tool(  # noqa: PLR0913  # all that a definition can say, as keywords
    function: object = None,
    /,
    *,
    effect: EffectName | Effect | None = None,
    name: str | None = None,
    retry: Retry | None = None,
    timeout: Seconds = DEFAULT_TIMEOUT_SECONDS,
    reconcile: Callable[..., Any] | None = None,
    settle: Seconds | None = None,
    concurrency: int = DEFAULT_CONCURRENCY,
    max_tokens: int = 0,
    max_cost_usd: Dollars = 0,
    rate: str | Rate | None = None,
    breaker: Breaker | None = None,
    taint: str | Iterable[str] = (),
    max_result_bytes: int = MAX_PAYLOAD_BYTES,
    secrets: Iterable[str] = (),
) -> ToolDecorator:
    """Define a tool: `@tool(effect="read")`. `effect` is required.

    - `timeout` bounds one attempt; `retry` is used for reads and idempotent tools, and for unsafe ones after `NotExecuted`.
    - `reconcile(ctx, *same arguments)` is for unsafe tools: it returns the tool's result if the effect took place, `NOT_DONE` if it
      surely did not, and raises if it cannot know. It is asked no sooner than `settle` after the call's hard deadline (default: the
      gateway's setting).
    - `concurrency` bounds how many calls one gateway runs at once, `rate` (`"10/s"`, `Rate(…)`) how many all gateways together begin.
    - `breaker=Breaker(…)` stops calls while the tool fails.
    - `taint` labels what it returns as coming from outside: `taint=("web",)`.
    - `max_result_bytes` is the largest result as JSON.
    - `max_tokens` and `max_cost_usd` are what one attempt may use at most: reserved before it is sent, where the run is limited; the tool
      says what it used with `ToolContext.spent`.
    - `secrets` names what it needs of the gateway's secrets: without them no call begins.

    Raises `TypeError`, `ValueError` or `BadInput` at the definition.
    """
    if function is not None or effect is None:
        raise TypeError(
            "a tool must say what running it does: @tool(effect='read'), @tool(effect='idempotent') or "
            "@tool(effect='unsafe'); 'read' changes nothing, 'idempotent' may run twice under one key, 'unsafe' may not"
        )
    if effect not in tuple(Effect):
        raise TypeError(f"effect={effect!r}: use 'read', 'idempotent' or 'unsafe'")
    kind = Effect(effect)
    if reconcile is not None and kind is not Effect.UNSAFE:
        raise TypeError(f"reconcile= is for unsafe tools: a tool with effect={kind.value!r} is simply run again")
    if concurrency < 1:
        raise ValueError(f"concurrency={concurrency!r}: at least 1")
    if not 1 <= max_result_bytes <= MAX_PAYLOAD_BYTES:
        raise ValueError(f"max_result_bytes={max_result_bytes!r}: 1 to {MAX_PAYLOAD_BYTES}")
    policy = ToolPolicy(
        effect=kind,
        retry=retry or Retry(),
        timeout_seconds=seconds_of("timeout", timeout),
        concurrency=concurrency,
        reconcile=reconcile,
        reserve=Usage(tokens=max_tokens, cost_usd=max_cost_usd) if max_tokens or max_cost_usd else None,
        rate=rate_of(rate),
        breaker=breaker_of(breaker),
        taint=labels_of(taint),
        max_result_bytes=max_result_bytes,
        settle_seconds=None if settle is None else seconds_of("settle", settle),
        secrets=(secrets,) if isinstance(secrets, str) else tuple(secrets),
    )
    frame = sys._getframe(1)
    local_names = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)

    def define(function: Callable[..., Any], /) -> Tool[Any, Any]:
        if not callable(function) or isinstance(function, type):
            raise TypeError(f"@tool needs a function, not {function!r}")
        return Tool(name_of("tool", function, name), policy, function, local_names=local_names)

    return cast("ToolDecorator", define)


def remote_tool(name: str, args: type[A], result: type[R]) -> Tool[[A], R]:
    """A tool whose code lives elsewhere, in any language: called with one `args` Struct, gives a `result`."""

    def unknown() -> None: ...

    policy = ToolPolicy(effect=Effect.UNSAFE)
    return Tool(name_of("tool", unknown, name), policy, None, remote=(args, result))


__all__ = ["CallOptions", "ResultNotEncodable", "Tool", "ToolPolicy", "remote_tool", "tool"]
