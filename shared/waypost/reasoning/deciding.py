"""What comes next in a reasoning run: `decide(state, agent, seen)`, a pure function of the folded journal and the definition.

In this order:

    1. a choice of the model that nobody has acted upon      a command, or a refusal that it can read
    2. a call that has not come back                         wait
    3. a model call that failed                              a timer and another try, or the end of the run
    4. an answer without calls                               the run's result; or what was wrong with it, and another turn
    5. results of calls                                      the end, where one of them ends the run; otherwise another turn
    6. another turn                                          compact first if the conversation is long, plan first if there is to be a plan
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw, Struct

from waypost.conversion import encode_value
from waypost.reasoning.judging import as_result, judged
from waypost.reasoning.options import Called, Progress
from waypost.reasoning.state import HANDOFF, UPDATE_PLAN, Kind, Reply, State
from waypost.reasoning.texts import arguments_of
from waypost.reasoning.toolbox import Turn
from waypost_core.backoff import delay_seconds
from waypost_proto import commands as cmd
from waypost_proto.errors import BadInput
from waypost_proto.ids import CallId, RunId
from waypost_proto.values import Failure

if TYPE_CHECKING:
    from waypost.reasoning.agent import ReasoningAgent

BUSY = frozenset({"ModelBusy", "ModelTimeout", "ModelCut"})
"""Types of failures that pass."""


class Ask(Struct, frozen=True, kw_only=True):
    """The model is to be asked. `through` of a compaction: the number of the first message that it leaves as it is."""

    kind: Kind
    through: int = 0


class _Retry(Struct):
    """What a failed model call says of the next try."""

    retry_after: float | None = None


Next = list[cmd.AnyItem] | Ask | None


def decide(state: State, agent: ReasoningAgent[Any, Any], seen: int, run_id: RunId) -> Next:
    """Items to issue now, a question to the model, or None: the run waits, or is over."""
    if not state.started or state.ended:
        return None
    if state.busy:
        return _chosen(state, agent, seen) or None
    if state.failure is not None:
        return _failed(state, state.failure, agent, seen, run_id)
    if state.reply is not None:
        return _replied(state, state.reply, agent, seen)
    ending = _ending(state, agent, seen)
    return ending if ending is not None else _another_turn(state, agent, seen)


def _chosen(state: State, agent: ReasoningAgent[Any, Any], seen: int) -> list[cmd.AnyItem]:
    turn = Turn(seen=seen, clock=state.clock, because=state.last_model_id, count=len(state.chosen), sender=agent.name, state=state)
    items: list[cmd.AnyItem] = []
    plan = None
    for call in state.chosen:
        if call.stage == "chosen":
            made = agent.toolbox.commands(call, turn)
            items += made
            plan = _shown(made) or plan
    if plan is not None:
        items.append(cmd.SetState(seen=seen, value=plan))
    return items


def _shown(made: list[cmd.AnyItem]) -> Raw | None:
    """The state that people see after a plan was changed."""
    for item in made:
        if isinstance(item, cmd.FinishStep) and item.name == UPDATE_PLAN and isinstance(item.result, Raw):
            return Raw(b'{"plan":' + bytes(item.result) + b"}")
    return None


# -- the model did not answer


def _failed(state: State, failure: Failure, agent: ReasoningAgent[Any, Any], seen: int, run_id: RunId) -> Next:
    if state.waiting:
        return None
    outage = agent.plan.outage
    if failure.type not in BUSY or state.failures >= outage.max_attempts:
        times = f" ({state.failures} times in a row)" if state.failures > 1 else ""
        return [cmd.FailRun(seen=seen, error=Failure(type="ModelFailed", message=f"{failure.type}: {failure.message}{times}"))]
    wait = CallId(f"m{state.calls}.wait")
    share = int.from_bytes(hashlib.sha256(f"{run_id}/{wait}".encode()).digest()[:4], "big") / 2**32  # the same on replay
    asked: float | None = None
    if isinstance(failure.details, Raw):
        asked = msgspec.json.decode(failure.details, type=_Retry).retry_after
    seconds = delay_seconds(outage, state.failures, share, asked)
    return [cmd.StartTimer(seen=seen, id=wait, fire_at=state.clock + seconds)]


# -- the model has said something final


def _replied(state: State, reply: Reply, agent: ReasoningAgent[Any, Any], seen: int) -> Next:
    if state.notes and state.turns < agent.plan.max_turns:  # somebody said something while it thought
        return _another_turn(state, agent, seen)
    verdict = judged(reply, agent.returns, f"the answer of agent {agent.name!r}")
    if isinstance(verdict, bytes):
        return [cmd.CompleteRun(seen=seen, result=Raw(verdict))]
    if verdict.type == "ModelRefused" or state.repairs >= agent.plan.repairs:
        tries = f" (after {state.repairs + 1} tries)" if state.repairs else ""
        message = verdict.message if verdict.type == "ModelRefused" else f"{verdict.message}{tries} It was: {reply.text[:500]!r}"
        return [cmd.FailRun(seen=seen, error=Failure(type=verdict.type, message=message))]
    return [cmd.FinishStep(seen=seen, id=CallId(f"{reply.id}.check"), name="check", at=state.clock, error=verdict)]


def _ending(state: State, agent: ReasoningAgent[Any, Any], seen: int) -> list[cmd.AnyItem] | None:
    """A handoff that came back, a tool that ends the run, or a condition of the agent's own."""
    for call in state.chosen:
        final = call.use.name.startswith(HANDOFF) or call.use.name in agent.plan.final
        if final and call.value is not None:
            return [_complete(agent, call.value, f"the result of {call.use.name!r}", seen)]
    if agent.plan.stop_when is None or not state.chosen:
        return None
    stopped = agent.plan.stop_when(_progress(state))
    return (
        None if stopped is None else [_complete(agent, encode_value("what stop_when returned", stopped), "what stop_when returned", seen)]
    )


def _complete(agent: ReasoningAgent[Any, Any], value: bytes, what: str, seen: int) -> cmd.AnyItem:
    try:
        return cmd.CompleteRun(seen=seen, result=Raw(as_result(value, agent.returns, f"{what} as the result of agent {agent.name!r}")))
    except BadInput as error:
        return cmd.FailRun(seen=seen, error=Failure(type="ResultInvalid", message=str(error)))


def _progress(state: State) -> Progress:
    calls = [
        Called(
            name=call.use.name,
            arguments=arguments_of(call.use.arguments),
            result=None if call.value is None else msgspec.json.decode(call.value),
            failed=call.value is None,
        )
        for call in state.chosen
    ]
    return Progress(turns=state.turns, calls=calls, taint=frozenset(state.taint))


# -- another turn


def _another_turn(state: State, agent: ReasoningAgent[Any, Any], seen: int) -> Next:
    plan = agent.plan
    if state.turns >= plan.max_turns:
        message = f"the model did not come to an end in {plan.max_turns} turns (max_turns); it was told so before the last"
        return [cmd.FailRun(seen=seen, error=Failure(type="MaxTurnsReached", message=message))]
    if plan.planning and state.plan is None:
        return Ask(kind="plan")
    if plan.planning and not state.shown and state.plan is not None:
        return [cmd.SetState(seen=seen, value=Raw(msgspec.json.encode({"plan": state.plan})))]
    if state.dialogue.tokens > plan.window.max_tokens:
        through = state.dialogue.cut_at(plan.window.kept)
        if through is not None:
            return Ask(kind="compact", through=through)
    return Ask(kind="think")


__all__ = ["BUSY", "Ask", "Next", "decide"]
