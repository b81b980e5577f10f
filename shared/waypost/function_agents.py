"""Agents that are durable functions: `@agent` defines one.

Its code is deterministic: it asks for everything through its `Context`, and runs again from the start, fed with what is recorded.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

from msgspec import Raw

from waypost.agents import Agent, AgentPolicy, policy_of
from waypost.context import Context
from waypost.conversion import decode_value, encode_value
from waypost.options import Budget, Seconds
from waypost.signatures import Signature
from waypost.targets import Target, description_of, name_of
from waypost_proto.usage import LoopLimits

if TYPE_CHECKING:
    from waypost.execution.ports import AgentExecution, Beginning

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class FunctionAgent(Agent[P, R_co]):
    """A durable function `async def f(ctx: Context, input: In) -> Out` (the input may be left out)."""

    kind = "function"

    def __init__(
        self,
        name: str,
        policy: AgentPolicy,
        function: Callable[..., Coroutine[Any, Any, R_co]],
        *,
        local_names: Mapping[str, Any] = _NOTHING,
    ) -> None:
        super().__init__(name, policy, module=function.__module__, description=description_of(function))
        self.function = function
        self._local_names = local_names

    @property
    def origin(self) -> object:
        return self.function

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        """The input as JSON, as a task carries it; `null` for an agent without one."""
        bound = self.signature.bind(args, kwargs)
        return encode_value(f"the input of agent {self.name!r}", next(iter(bound.values()), None))

    @property
    def returns(self) -> Any:
        """The declared type of the result; `Any` when the function does not say."""
        return self.signature.returns

    @property
    def takes(self) -> Any:
        signature = self.signature
        return signature.types[signature.names[0]] if signature.names else None

    def execution(self, beginning: Beginning) -> AgentExecution:
        """Code that runs on a deterministic loop of its own."""
        from waypost.execution.execution import Execution

        return Execution(
            self,
            beginning.run_id,
            correlation_id=beginning.correlation_id,
            tenant=beginning.tenant,
            steps_left=beginning.steps_left,
            start_effect=beginning.start_effect,
        )

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


class AgentDecorator(Protocol):
    """Turns `async def f(ctx, input)` into a `FunctionAgent`."""

    def __call__(self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> FunctionAgent[P, R]: ...


@overload
def agent(function: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> FunctionAgent[P, R]: ...
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
    policy = policy_of(tools, agents, budget=budget, version=version, open_budget=open_budget, loops=loops, escalate=escalate)
    frame = sys._getframe(1)
    local_names = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)

    def define(function: Callable[..., Any], /) -> FunctionAgent[Any, Any]:
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"@agent needs an `async def` function, not {function!r}")
        return FunctionAgent(name_of("agent", function, name), policy, function, local_names=local_names)

    return define(function) if function is not None else cast("AgentDecorator", define)


__all__ = ["FunctionAgent", "agent"]
