"""`ReasoningAgent`: an agent in which a model decides what is called next.

    analyst = ReasoningAgent(
        name="analyst", model=model, instructions="You weigh evidence …", tools=[core_banking, sanctions], input=Case, output=Assessment
    )

A module defines it as a value. The loop, its state and what it survives: `docs/reasoning.md`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic

from msgspec import Raw, Struct

from waypost.agents import Agent, policy_of
from waypost.conversion import decode_value, encode_value
from waypost.models.protocol import Model
from waypost.options import Budget, Seconds
from waypost.reasoning.options import OUTAGE, Handoff, Progress, Questions, Window
from waypost.reasoning.schemas import output_schema
from waypost.reasoning.state import HANDOFF
from waypost.reasoning.toolbox import Toolbox
from waypost.targets import Target
from waypost_proto.errors import BadInput
from waypost_proto.ids import check_name
from waypost_proto.registry import AgentDefinition
from waypost_proto.usage import LoopLimits
from waypost_proto.values import Retry

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from waypost.execution.ports import AgentExecution, Beginning

    In = TypeVar("In", default=str)
    Out = TypeVar("Out", default=str)
else:
    from typing import TypeVar

    In = TypeVar("In")
    Out = TypeVar("Out")

Instructions = str | Callable[[Any], str]
"""What the model is told of its task: a text, or a function of the input that gives one."""


class Plan(Struct, frozen=True, kw_only=True):
    """How an agent reasons. All of it may change while runs are under way: each next question is asked with what the code says then."""

    model: Any
    instructions: Instructions
    targets: tuple[Any, ...] = ()
    handoffs: tuple[Handoff, ...] = ()
    questions: Questions | None = None
    planning: bool = False
    final: frozenset[str] = frozenset()
    stop_when: Callable[[Progress], Any] | None = None
    max_turns: int = 50
    repairs: int = 2
    window: Window = Window()
    outage: Retry = OUTAGE
    max_output_tokens: int | None = None
    temperature: float | None = None


class ReasoningAgent(Agent[[In], Out], Generic[In, Out]):
    """See the module; `docs/reasoning.md` says what each option does."""

    kind = "reasoning"

    def __init__(  # noqa: PLR0913 - each is an option of the definition, by keyword
        self,
        *,
        name: str,
        model: Model,
        instructions: Instructions,
        tools: Sequence[Target[..., Any]] = (),
        input: type[In] | None = str,  # type: ignore[assignment]  # noqa: A002 - as it reads where an agent is defined
        output: type[Out] = str,  # type: ignore[assignment]
        budget: Budget | None = None,
        handoffs: Sequence[Agent[..., Any] | Handoff] = (),
        ask: str | Questions | None = None,
        planning: bool = False,
        final: Sequence[Target[..., Any]] = (),
        stop_when: Callable[[Progress], Out | None] | None = None,
        max_turns: int = 50,
        repairs: int = 2,
        window: Window | None = None,
        outage: Retry = OUTAGE,
        max_output_tokens: int | None = None,
        temperature: float | None = None,
        description: str = "",
        version: str = "1",
        open_budget: bool = False,
        loops: LoopLimits | None = None,
        escalate: Sequence[tuple[Seconds, str]] = (),
    ) -> None:
        """`tools` lists tools (with `.using(…)` options, an approval for instance) and agents; `final` those whose result ends the run.
        `handoffs` lists agents, which get what the model writes for them, or `Handoff(agent)`, which gets the conversation too.

        Raises `TypeError`, `ValueError` or `BadInput` at the definition.
        """
        check_name("agent", name)
        _check(name, model, instructions, stop_when)
        if ask is not None and not isinstance(ask, str | Questions):
            raise TypeError(f"agent {name!r}: ask={ask!r}: give the role of who may be asked, or Questions(role=…)")
        if max_turns < 1 or repairs < 0:
            raise ValueError(f"agent {name!r}: max_turns={max_turns}, repairs={repairs}: at least 1 and 0")
        listed = [*tools, *(target for target in final if target.name not in {tool.name for tool in tools})]
        given = tuple(each if isinstance(each, Handoff) else Handoff(each, conversation=False) for each in handoffs)
        policy = policy_of(
            listed, [each.agent for each in given], budget=budget, version=version, open_budget=open_budget, loops=loops, escalate=escalate
        )
        super().__init__(name, policy, module=str(sys._getframe(1).f_globals.get("__name__", "")), description=description)
        self.plan = Plan(
            model=model,
            instructions=instructions,
            targets=tuple(listed),
            handoffs=given,
            questions=Questions(role=ask) if isinstance(ask, str) else ask,
            planning=planning,
            final=frozenset(target.name for target in final),
            stop_when=stop_when,
            max_turns=max_turns,
            repairs=repairs,
            window=window or Window(),
            outage=outage,
            max_output_tokens=max_output_tokens,
            temperature=temperature,
        )
        self._input = input
        self._output = output

    @property
    def origin(self) -> object:
        return self.plan

    @property
    def takes(self) -> Any:
        return self._input

    @property
    def returns(self) -> Any:
        return self._output

    def bind(self, *args: Any, **kwargs: Any) -> bytes:
        """The input as JSON; `null` for an agent with `input=None`."""
        expected = 0 if self._input is None else 1
        if kwargs or len(args) > 1 or len(args) < expected:
            raise TypeError(f"agent {self.name!r} takes {'one input' if expected else 'no input'}")
        return encode_value(f"the input of agent {self.name!r}", args[0] if args else None)

    def definition(self, build: str) -> AgentDefinition:
        """What the worker announces. Raises `TypeError` or `BadInput` for what no model can be offered."""
        self.toolbox, self.output_schema  # noqa: B018 - so that a worker says at its start what cannot work
        return super().definition(build)

    def execution(self, beginning: Beginning) -> AgentExecution:
        """A fold of the run's journal: no code of a user's is replayed."""
        from waypost.reasoning.execution import ReasoningExecution

        return ReasoningExecution(self, beginning)

    @cached_property
    def toolbox(self) -> Toolbox:
        """Made at first use, so that tools may name types that are defined after them. Raises `TypeError` or `BadInput`."""
        plan = self.plan
        for target in plan.targets:
            if target.name.startswith(HANDOFF):
                raise BadInput(
                    f"agent {self.name!r}: {target.name!r} begins with {HANDOFF!r}, which is for handoffs: give it another name="
                )
        return Toolbox(plan.targets, plan.handoffs, plan.questions, plan=plan.planning)

    @cached_property
    def output_schema(self) -> Raw | None:
        """What an answer must fit; None for plain text."""
        return output_schema(self._output)

    def instructions_for(self, body: bytes) -> str:
        """The instructions for a run with this input. Raises `BadInput` if it does not fit, and what their function raises."""
        value = None if self._input is None else decode_value(f"the input of agent {self.name!r}", self._input, body)
        told = self.plan.instructions
        return told if isinstance(told, str) else told(value)


def _check(name: str, model: object, instructions: object, stop_when: object) -> None:
    if not isinstance(model, Model):
        raise TypeError(f"agent {name!r}: model={model!r} is no model: it needs `name`, `provider` and `async generate(request, on_delta)`")
    for what, function in (("instructions", instructions), ("stop_when", stop_when)):
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"agent {name!r}: {what} is `async`: a plain function of what it is given, which asks nobody")
    if not isinstance(instructions, str) and not callable(instructions):
        raise TypeError(f"agent {name!r}: instructions={instructions!r}: give a text, or a function of the input")


__all__ = ["Instructions", "Plan", "ReasoningAgent"]
