"""What the model of an agent may call, as it is shown, and what its choices become: commands, or a refusal that the model can read.

Tools and agents are commands to the coordinator. The rest is built in: handing over, asking a person, changing the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from waypost.agents import Agent
from waypost.conversion import decode_value, schema_of
from waypost.models.messages import ToolSpec
from waypost.options import seconds_of
from waypost.outside_tools import OutsideTool
from waypost.reasoning.handing_over import conversation_of, packed
from waypost.reasoning.options import Handoff, Questions
from waypost.reasoning.schemas import inlined, is_object, wrapped
from waypost.reasoning.state import ASK_PERSON, HANDOFF, UPDATE_PLAN, Chosen, PlanStep, State
from waypost.reasoning.texts import MAX_ARGUMENT_CHARS, arguments_of
from waypost.targets import Target
from waypost.tools import Tool
from waypost_proto import commands as cmd
from waypost_proto.errors import BadInput
from waypost_proto.ids import CallId
from waypost_proto.limits import MAX_QUESTION_CHARS
from waypost_proto.values import Failure

MAX_CALLS = 64
"""Calls that one answer may choose."""
_WRAPPED = "input"
"""The one parameter of an agent whose input is no JSON object."""


class Refusal(Exception):
    """A call that is not made. `type` and the message go into the log, and to the model."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.failure = Failure(type=kind, message=message)


class Turn(Struct, frozen=True, kw_only=True):
    """What a command is made with: what the run had seen, its clock, the model call that chose, and how many it chose; for a handoff who
    hands over, and what was said."""

    seen: int
    clock: float
    because: CallId
    count: int
    sender: str
    state: State


class Offer(Protocol):
    """One thing that a model may call."""

    spec: ToolSpec

    def command(self, call_id: CallId, arguments: dict[str, Any], turn: Turn) -> list[cmd.AnyItem]:
        """What the call is. Raises `Refusal` or `BadInput`."""
        ...


class ToolOffer:
    """A tool, with the options that it was listed with."""

    def __init__(self, tool: Tool[..., Any]) -> None:
        self.tool = tool
        description, schema = _described(tool)
        self.spec = ToolSpec(name=tool.name, description=description, parameters=inlined(schema))

    def command(self, call_id: CallId, arguments: dict[str, Any], turn: Turn) -> list[cmd.AnyItem]:
        tool, options = self.tool, self.tool.options
        body = _encoded(arguments)
        if tool._remote is not None:
            bound = tool.bind(decode_value(f"an argument of tool {tool.name!r}", tool._remote[0], body))
        else:
            bound = tool.bind(**tool.decode_arguments(body))
        return [
            cmd.CallTool(
                seen=turn.seen,
                id=call_id,
                tool=tool.name,
                args=Raw(bound),
                timeout_seconds=options.timeout_seconds,
                retry=options.retry,
                approval=options.approval.to_wire() if options.approval is not None else None,
                reserve=options.reserve.to_wire() if options.reserve is not None else None,
                because=turn.because,
            )
        ]


class AgentOffer:
    """Another agent as a tool: a child run whose result comes back."""

    def __init__(self, agent: Agent[..., Any], name: str = "", why: str = "") -> None:
        self.agent = agent
        self._takes = agent.takes
        schema = None if self._takes is None else inlined(schema_of(f"agent {agent.name!r}: its input", self._takes))
        self._plain = schema is not None and is_object(schema)
        if schema is None:
            parameters = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')
        elif self._plain:
            parameters = schema
        else:
            parameters = wrapped(schema, _WRAPPED)
        description = f"{why}{agent.description or f'The agent {agent.name}.'}"
        self.spec = ToolSpec(name=name or agent.name, description=description, parameters=parameters)

    def command(self, call_id: CallId, arguments: dict[str, Any], turn: Turn) -> list[cmd.AnyItem]:
        agent = self.agent
        if self._takes is None:
            body = b"null"
        else:
            if not self._plain and _WRAPPED not in arguments:
                raise BadInput(f"agent {agent.name!r} takes one argument, {_WRAPPED!r}")
            given = arguments if self._plain else arguments[_WRAPPED]
            body = agent.bind(decode_value(f"the input of agent {agent.name!r}", self._takes, _encoded(given)))
        options = agent.options
        return [
            cmd.StartChild(
                seen=turn.seen,
                id=call_id,
                agent=agent.name,
                input=Raw(body),
                budget=options.budget,
                timeout_seconds=options.timeout_seconds,
                because=turn.because,
            )
        ]


class HandoffOffer(AgentOffer):
    """Another agent that takes over: its result is the run's."""

    def __init__(self, handoff: Handoff) -> None:
        told = "It is given the conversation. " if handoff.conversation else "Tell it all that it needs. "
        why = f"Hands the task over for good: what this agent answers is the final answer. {told}"
        super().__init__(handoff.agent, f"{HANDOFF}{handoff.agent.name}", why)
        self._handoff = handoff

    def command(self, call_id: CallId, arguments: dict[str, Any], turn: Turn) -> list[cmd.AnyItem]:
        if turn.count > 1:
            raise Refusal("NotAlone", "hand the task over in an answer of its own, after all other calls have come back")
        made = super().command(call_id, arguments, turn)
        return [self._with_conversation(item, turn) if isinstance(item, cmd.StartChild) else item for item in made]

    def _with_conversation(self, item: cmd.StartChild, turn: Turn) -> cmd.StartChild:
        if not self._handoff.conversation or item.input is UNSET:
            return item
        return replace(item, input=Raw(packed(turn.sender, self._handoff, conversation_of(turn.state), bytes(item.input))))


class _Question(Struct, frozen=True, forbid_unknown_fields=True):
    question: str


class QuestionOffer:
    """Asking a person."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions
        description = f"Asks a person ({questions.role}) and waits for the answer. Only for what nothing else here can tell you."
        self.spec = ToolSpec(name=ASK_PERSON, description=description, parameters=inlined(schema_of("a question", _Question)))

    def command(self, call_id: CallId, arguments: dict[str, Any], turn: Turn) -> list[cmd.AnyItem]:
        text = decode_value("the question", _Question, _encoded(arguments)).question.strip()
        if not 0 < len(text) <= MAX_QUESTION_CHARS:
            raise BadInput(f"the question has {len(text)} characters: use 1 to {MAX_QUESTION_CHARS}")
        seconds = seconds_of("expires", self._questions.expires)
        role, schema = self._questions.role, Raw(b'{"type":"string"}')
        return [cmd.AskQuestion(seen=turn.seen, id=call_id, role=role, question=text, expires_seconds=seconds, answer_schema=schema)]


class _Plan(Struct, frozen=True, forbid_unknown_fields=True):
    steps: list[PlanStep]


class PlanOffer:
    """Changing the plan, which people see."""

    def __init__(self) -> None:
        description = "Replaces the plan that people see. Call it when a step is done, or when the plan changes; give all steps."
        self.spec = ToolSpec(name=UPDATE_PLAN, description=description, parameters=inlined(schema_of("a plan", _Plan)))

    def command(self, call_id: CallId, arguments: dict[str, Any], turn: Turn) -> list[cmd.AnyItem]:
        steps = decode_value("the plan", _Plan, _encoded(arguments)).steps
        if not 0 < len(steps) <= 50:
            raise BadInput(f"the plan has {len(steps)} steps: use 1 to 50")
        return [cmd.FinishStep(seen=turn.seen, id=call_id, name=UPDATE_PLAN, at=turn.clock, result=Raw(_encoded(steps)))]


class Toolbox:
    """All that an agent's model may call. Raises `TypeError`, or `BadInput` for names that mean two things."""

    def __init__(
        self, targets: Sequence[Target[..., Any]], handoffs: Sequence[Handoff], questions: Questions | None, *, plan: bool
    ) -> None:
        offers: list[Offer] = [ToolOffer(target) if isinstance(target, Tool) else AgentOffer(_agent(target)) for target in targets]
        offers += [HandoffOffer(handoff) for handoff in handoffs]
        if questions is not None:
            offers.append(QuestionOffer(questions))
        if plan:
            offers.append(PlanOffer())
        self.offers = {offer.spec.name: offer for offer in offers}
        if len(self.offers) != len(offers):
            names = [offer.spec.name for offer in offers]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise BadInput(f"the model is offered {', '.join(twice)} twice: give one of them another name")
        self.specs = tuple(offer.spec for offer in offers)

    def commands(self, call: Chosen, turn: Turn) -> list[cmd.AnyItem]:
        """What one choice of the model becomes: a command, or a failed step that says why there is none."""
        try:
            return self._commands(call, turn)
        except Refusal as refusal:
            failure = refusal.failure
        except (BadInput, TypeError) as error:
            failure = Failure(type="ArgumentsInvalid", message=str(error))
        name = call.use.name[:100] or "(no name)"
        return [cmd.FinishStep(seen=turn.seen, id=call.id, name=name, at=turn.clock, error=failure)]

    def _commands(self, call: Chosen, turn: Turn) -> list[cmd.AnyItem]:
        use = call.use
        offer = self.offers.get(use.name)
        if int(call.id.rpartition(".")[2]) > MAX_CALLS:
            raise Refusal("TooManyCalls", f"one answer may make {MAX_CALLS} calls, this one made {turn.count}")
        if offer is None:
            raise Refusal("UnknownTool", f"there is no tool {use.name[:100]!r}; there is {', '.join(self.offers) or 'none'}")
        if len(use.arguments) > MAX_ARGUMENT_CHARS:
            raise Refusal("ArgumentsInvalid", f"{len(use.arguments)} characters of arguments; the limit is {MAX_ARGUMENT_CHARS}")
        arguments = arguments_of(use.arguments)
        if arguments is None:
            raise Refusal("ArgumentsInvalid", f"the arguments of {use.name!r} are no JSON object: {use.arguments[:200]!r}")
        return offer.command(call.id, arguments, turn)


def _agent(target: Target[..., Any]) -> Agent[..., Any]:
    if not isinstance(target, Agent):
        raise TypeError(f"tools=[…] lists {target!r}, which is neither a tool nor an agent: decorate it with @tool(effect=…)")
    return target


def _described(tool: Tool[..., Any]) -> tuple[str, Raw]:
    if tool._remote is not None and not isinstance(tool, OutsideTool):
        return f"The tool {tool.name}.", schema_of(f"tool {tool.name!r}: a parameter", tool._remote[0])
    definition = tool.definition()
    return definition.description or f"The tool {tool.name}.", definition.args_schema


def _encoded(value: object) -> bytes:
    return msgspec.json.encode(value)


__all__ = ["MAX_CALLS", "Toolbox", "Turn"]
