"""What all kinds of agents share: name, allow-lists, limits, and how a worker runs one.

`tools=[…]` and `agents=[…]` are its allow-lists: what is not listed is denied at the call. An agent may be listed in either, and may
always call itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, ClassVar, Literal, ParamSpec, Self, TypeVar

from msgspec import Struct

from waypost.conversion import encode_result, fit, schema_of
from waypost.options import Budget, Seconds, seconds_of
from waypost.targets import Target
from waypost.tools import Tool
from waypost_proto.registry import AgentDefinition
from waypost_proto.usage import LoopLimits, Rung

if TYPE_CHECKING:
    from waypost.execution.ports import AgentExecution, Beginning

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)
Kind = Literal["function", "reasoning", "langgraph"]


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


class Agent(Target[P, R_co], ABC):
    """What a run is of. Its kinds: the durable function (`@agent`), `ReasoningAgent`, `LangGraphAgent`."""

    kind: ClassVar[Kind]
    runs_beside: ClassVar[bool] = False
    """Its code does more than ask for steps and calls, and cannot be held back while the journal is looked at: what may not be the
    beginning of a run is taken up from the journal."""

    def __init__(self, name: str, policy: AgentPolicy, *, module: str, description: str = "", options: ChildOptions | None = None) -> None:
        self.name = name
        self.policy = policy
        self.module = module
        self.description = description
        self.options = options or ChildOptions()

    def __repr__(self) -> str:
        return f"<agent {self.name!r}>"

    # -- for agents that call this one

    def using(self, *, budget: Budget | None = None, timeout: Seconds | None = None) -> Self:
        """This agent with options for one child run; what is None stays as it was."""
        now = self.options
        other = copy(self)
        other.options = ChildOptions(
            budget=budget if budget is not None else now.budget,
            timeout_seconds=seconds_of("timeout", timeout) if timeout is not None else now.timeout_seconds,
        )
        return other

    @abstractmethod
    def bind(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        """The input as JSON, as a task carries it; `null` for an agent without one. Raises `TypeError` or `BadInput`."""

    @property
    @abstractmethod
    def returns(self) -> Any:
        """The declared type of the result; `Any` when it is not declared."""

    # -- for the worker

    @property
    @abstractmethod
    def origin(self) -> object:
        """What defines it: the same object for every `.using(…)` variant, another one for every other agent."""

    @property
    @abstractmethod
    def takes(self) -> Any:
        """The declared type of the input; None for an agent without one."""

    @property
    def hosts(self) -> Sequence[Tool[..., Any]]:
        """Tools that it brings along: the gateway hosts them with the module that defines the agent."""
        return ()

    @abstractmethod
    def execution(self, beginning: Beginning) -> AgentExecution:
        """A new execution of one run of this agent in memory."""

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
        return AgentDefinition(
            name=self.name,
            build=build,
            version=self.policy.version,
            description=self.description,
            kind=self.kind,
            input_schema=schema_of(f"agent {self.name!r}: its input", self.takes),
            output_schema=schema_of(f"agent {self.name!r}: its result", self.returns),
            tools=sorted(self.policy.tools),
            agents=sorted(self.policy.agents),
            budget=self.policy.budget,
            open_budget=self.policy.open_budget,
            loops=self.policy.loops,
            ladder=list(self.policy.ladder),
        )


def policy_of(
    tools: Sequence[Target[..., Any]],
    agents: Sequence[Target[..., Any]],
    *,
    budget: Budget | None,
    version: str,
    open_budget: bool,
    loops: LoopLimits | None,
    escalate: Sequence[tuple[Seconds, str]],
) -> AgentPolicy:
    """The options that every kind of agent has. Raises `TypeError` for what is listed and is neither a tool nor an agent."""
    listed = list(tools)
    for target in agents:
        if not isinstance(target, Agent):
            raise TypeError(f"agents=[…] lists {target!r}, which is not an agent")
        listed.append(target)
    for target in listed:
        if not isinstance(target, Tool | Agent):
            raise TypeError(f"tools=[…] lists {target!r}, which is neither a tool nor an agent: decorate it with @tool(effect=…)")
    return AgentPolicy(
        tools=frozenset(t.name for t in listed if isinstance(t, Tool)),
        agents=frozenset(t.name for t in listed if isinstance(t, Agent)),
        budget=budget,
        version=version,
        open_budget=open_budget,
        loops=loops,
        ladder=tuple(Rung(after_seconds=seconds_of("escalate", after), to=to) for after, to in escalate),
    )


__all__ = ["Agent", "AgentPolicy", "ChildOptions", "policy_of"]
