"""Agents: durable functions, run by a worker. `@agent` defines one.

An agent's code is deterministic: it asks for everything through its `Context`. `tools=[…]` and `agents=[…]` are its
allow-lists: what is not listed is denied at the call. An agent may be listed in either, and may always call itself.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from msgspec import Raw, Struct

from waypost.context import Context
from waypost.conversion import decode_value, encode_result, encode_value, fit, schema_of
from waypost.options import Budget, Seconds, seconds_of
from waypost.signatures import Signature
from waypost.targets import Target, description_of, name_of
from waypost.tools import Tool
from waypost_proto.registry import AgentDefinition
from waypost_proto.usage import LoopLimits, Rung

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class AgentPolicy(Struct, frozen=True, kw_only=True):
    """What `@agent(…)` says of an agent besides its code. The names are its allow-lists."""

    tools: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    budget: Budget | None = None
    version: str = "1"
    open_budget: bool = False
    loops: LoopLimits | None = None
    ladder: tuple[Rung, ...] = ()


class ChildOptions(Struct, frozen=True, kw_only=True):
    """What `.using(…)` sets for one call of an agent."""

    budget: Budget | None = None
    timeout_seconds: float | None = None


class Agent(Target[P, R_co]):
    """A durable function `async def f(ctx: Context, input: In) -> Out` (the input may be left out)."""

    def __init__(
        self,
        name: str,
        policy: AgentPolicy,
        function: Callable[..., Coroutine[Any, Any, R_co]],
        *,
        local_names: Mapping[str, Any] = _NOTHING,
        options: ChildOptions | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self.function = function
        self.module = function.__module__
        self.options = options or ChildOptions()
        self._local_names = local_names

    def __repr__(self) -> str:
        return f"<agent {self.name!r}>"

    # -- for agents that call this one

    def using(self, *, budget: Budget | None = None, timeout: Seconds | None = None) -> Agent[P, R_co]:
        """This agent with options for one child run; what is None stays as it was."""
        now = self.options
        options = ChildOptions(
            budget=budget if budget is not None else now.budget,
            timeout_seconds=seconds_of("timeout", timeout) if timeout is not None else now.timeout_seconds,
        )
        return Agent(self.name, self.policy, self.function, local_names=self._local_names, options=options)

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        """The input as JSON, as a task carries it; `null` for an agent without one."""
        bound = self.signature.bind(args, kwargs)
        return encode_value(f"the input of agent {self.name!r}", next(iter(bound.values()), None))

    @property
    def returns(self) -> Any:
        """The declared type of the result; `Any` when the function does not say."""
        return self.signature.returns

    # -- for the worker

    @cached_property
    def signature(self) -> Signature:
        """Read at first use. Raises `TypeError` unless it is `(ctx: Context)` or `(ctx: Context, input)`."""
        signature = Signature(f"agent {self.name!r}", self.function, Context, self._local_names)
        if not signature.has_context or len(signature.names) > 1:
            raise TypeError(
                f"agent {self.name!r} must be `async def f(ctx: Context, input: SomeType)`, with `ctx` annotated as "
                f"waypost.Context and at most one input; it takes ({', '.join(signature.names)})"
            )
        return signature

    def start(self, ctx: Context, body: bytes | Raw) -> Coroutine[Any, Any, R_co]:
        """The run's coroutine on the JSON input `body`. Raises `BadInput` with the path and the value if it does not fit."""
        signature = self.signature
        if not signature.names:
            return self.function(ctx)
        (name,) = signature.names
        if name in signature.defaults and bytes(body) == b"null":
            return self.function(ctx)
        value = decode_value(f"the input of agent {self.name!r}", signature.types[name], body)
        return self.function(ctx, **{name: value})

    def encode_result(self, result: object) -> bytes:
        """What the code returned as JSON. Raises `BadInput` if it is not, or cannot be carried."""
        what = f"the result of agent {self.name!r}"
        return fit(what, encode_result(what, result))

    def allows_tool(self, name: str) -> bool:
        return name in self.policy.tools

    def allows_agent(self, name: str) -> bool:
        return name in self.policy.agents or name == self.name

    def definition(self, build: str) -> AgentDefinition:
        """What the worker announces. Raises `TypeError` for annotations that have no JSON Schema."""
        signature = self.signature
        kind = signature.types[signature.names[0]] if signature.names else None
        return AgentDefinition(
            name=self.name,
            build=build,
            version=self.policy.version,
            description=description_of(self.function),
            input_schema=schema_of(f"agent {self.name!r}: its input", kind),
            output_schema=schema_of(f"agent {self.name!r}: its result", self.returns),
            tools=sorted(self.policy.tools),
            agents=sorted(self.policy.agents),
            budget=self.policy.budget,
            open_budget=self.policy.open_budget,
            loops=self.policy.loops,
            ladder=list(self.policy.ladder),
        )


class AgentDecorator(Protocol):
    """Turns `async def f(ctx, input)` into an `Agent`."""

    def __call__(self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Agent[P, R]: ...


@overload
def agent(function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Agent[P, R]: ...
@overload
def agent(
    *,
    tools: Sequence[Target[..., Any]] = (),
    agents: Sequence[Target[..., Any]] = (),
    budget: Budget | None = None,
    name: str | None = None,
    version: str = "1",
    open_budget: bool = False,
    loops: LoopLimits | None = None,
    escalate: Sequence[tuple[Seconds, str]] = (),
) -> AgentDecorator: ...
def agent(  # noqa: PLR0913 - each is an option of the definition, by keyword
    function: Callable[..., Any] | None = None,
    /,
    *,
    tools: Sequence[Target[..., Any]] = (),
    agents: Sequence[Target[..., Any]] = (),
    budget: Budget | None = None,
    name: str | None = None,
    version: str = "1",
    open_budget: bool = False,
    loops: LoopLimits | None = None,
    escalate: Sequence[tuple[Seconds, str]] = (),
) -> Any:
    """Define an agent: `@agent(tools=[core_banking], budget=Budget(max_steps=50))`.

    `tools` may list tools and agents, `agents` only agents; together they are what the code may call. `budget` is
    the limit of the run with all its children; a task may tighten it, and lift it only with `open_budget=True`. `loops`
    says when the run counts as going in circles (`LoopLimits()` for the usual thresholds). `escalate` is the ladder of
    supervisors: `[(timedelta(minutes=15), "team lead"), …]`, who is told when nobody has acted for so long. Raises
    `TypeError`, `ValueError` or `BadInput` at the definition.
    """
    listed = list(tools)
    for target in agents:
        if not isinstance(target, Agent):
            raise TypeError(f"agents=[…] lists {target!r}, which is not an agent")
        listed.append(target)
    policy = AgentPolicy(
        tools=frozenset(t.name for t in listed if isinstance(t, Tool)),
        agents=frozenset(t.name for t in listed if isinstance(t, Agent)),
        budget=budget,
        version=version,
        open_budget=open_budget,
        loops=loops,
        ladder=tuple(Rung(after_seconds=seconds_of("escalate", after), to=to) for after, to in escalate),
    )
    for target in listed:
        if not isinstance(target, Tool | Agent):
            raise TypeError(f"tools=[…] lists {target!r}, which is neither a tool nor an agent: decorate it with @tool(effect=…)")
    frame = sys._getframe(1)
    local_names = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)

    def define(function: Callable[..., Any], /) -> Agent[Any, Any]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"@agent needs an `async def` function, not {function!r}")
        return Agent(name_of("agent", function, name), policy, function, local_names=local_names)

    return define(function) if function is not None else cast("AgentDecorator", define)


__all__ = ["Agent", "AgentPolicy", "ChildOptions", "agent"]
