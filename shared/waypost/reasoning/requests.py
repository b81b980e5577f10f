"""What a model is sent: built from the folded journal and the definition, anew for each question. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from waypost.models.messages import ModelRequest, UserMessage
from waypost.reasoning.deciding import Ask
from waypost.reasoning.handing_over import written
from waypost.reasoning.options import CHARS_PER_TOKEN
from waypost.reasoning.state import PlanStep, State
from waypost.reasoning.texts import shortened

if TYPE_CHECKING:
    from waypost.reasoning.agent import ReasoningAgent

_PLAN_FIRST = (
    "Before you begin, write a plan for this task: three to ten short steps, one on a line, and nothing else. "
    "You cannot call anything yet. You will be able to call: {}."
)
_PLAN = "Your plan, which people see; keep it up to date with update-plan:\n{}"
_LAST_TURN = "This is your last turn: nothing can be called any more. Give your final answer now, with what you have."
_TASK = "(There is no input: your instructions are the task.)"


def request_of(state: State, agent: ReasoningAgent[Any, Any], ask: Ask, instructions: str) -> ModelRequest:
    """The question that `ask` is."""
    if ask.kind == "compact":
        return _compaction(state, agent, ask)
    opening = UserMessage(text=state.opening or _TASK)
    notes = [UserMessage(text=note.text) for note in state.notes]
    if ask.kind == "plan":
        text = _joined(instructions, _PLAN_FIRST.format(", ".join(agent.toolbox.offers) or "nothing"))
        return ModelRequest(messages=(opening, *notes), instructions=text, max_output_tokens=agent.plan.max_output_tokens)
    last = state.turns == agent.plan.max_turns - 1 and bool(agent.toolbox.specs)
    plan = _PLAN.format(_lines(state.plan)) if state.plan else ""
    dialogue = state.dialogue
    summary = [UserMessage(text=f"What has happened so far, in short:\n{dialogue.summary}")] if dialogue.summary else []
    return ModelRequest(
        messages=(opening, *summary, *dialogue.messages, *notes),
        instructions=_joined(instructions, plan, _LAST_TURN if last else ""),
        tools=agent.toolbox.specs,
        tool_choice="none" if last else "auto",
        output_schema=agent.output_schema,
        max_output_tokens=agent.plan.max_output_tokens,
        temperature=agent.plan.temperature,
    )


def _compaction(state: State, agent: ReasoningAgent[Any, Any], ask: Ask) -> ModelRequest:
    """The part of the conversation that is to go, written out: no provider needs to see calls and results paired for this."""
    dialogue, window = state.dialogue, agent.plan.window
    gone = dialogue.messages[: ask.through - dialogue.first]
    parts = [f"The task:\n{state.opening or _TASK}"]
    if dialogue.summary:
        parts.append(f"What happened before, in short:\n{dialogue.summary}")
    parts.append("What happened then:\n" + "\n".join(written(message) for message in gone))
    text = shortened("\n\n".join(parts), window.max_tokens * CHARS_PER_TOKEN, "they are left out here")
    return ModelRequest(messages=(UserMessage(text=text),), instructions=window.summarise, max_output_tokens=agent.plan.max_output_tokens)


def _lines(plan: Sequence[PlanStep]) -> str:
    return "\n".join(f"{number}. [{step.status}] {step.step}" for number, step in enumerate(plan, 1))


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


__all__ = ["request_of"]
