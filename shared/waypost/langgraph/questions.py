"""What interrupts a graph, as a question to people. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from langgraph.types import Interrupt
from msgspec import UNSET, Raw
from pydantic_core import to_jsonable_python

from waypost.options import Seconds, seconds_of
from waypost_proto import commands as cmd
from waypost_proto.codec import encode
from waypost_proto.ids import CallId
from waypost_proto.limits import MAX_KEY_CHARS, MAX_QUESTION_CHARS

QUESTION = "q:"
"""How the ids of questions from `interrupt()` begin; LangGraph's id of the interrupt follows."""
BREAKPOINT = "b:"
"""… and those of breakpoints, before the id of the checkpoint."""
_TEXTS = ("question", "message", "description", "prompt", "text")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """Who answers what interrupts a graph, until when, and in which words.

    `interrupt({"role": "officer", "question": "…"})` names a role and words of its own; what has neither is shown as JSON to `role`.
    """

    role: str = "operator"
    expires: Seconds = timedelta(hours=48)
    text: Callable[[Any], str] | None = None
    """Words for the value that a node gave to `interrupt`."""

    def __post_init__(self) -> None:
        if not 0 < len(self.role) <= MAX_KEY_CHARS:
            raise ValueError(f"Asks(role={self.role!r}): use 1 to {MAX_KEY_CHARS} characters")
        seconds_of("Asks(expires=…)", self.expires)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question; `interrupt` is what asked, None for a breakpoint."""

    call_id: CallId
    role: str
    text: str
    expires_seconds: float
    schema: dict[str, Any] | None = None
    interrupt: Interrupt[Any] | None = None

    def item(self, seen: int) -> cmd.AskQuestion:
        """As an item."""
        return cmd.AskQuestion(
            seen=seen,
            id=self.call_id,
            role=self.role,
            question=self.text,
            expires_seconds=self.expires_seconds,
            answer_schema=UNSET if self.schema is None else Raw(encode(self.schema)),
        )


def question_of(interrupt: Interrupt[Any], asks: Asks) -> Question:
    """The question of an `interrupt()`; its form comes from `response_schema`."""
    value = interrupt.value
    role = value.get("role") if isinstance(value, dict) else None
    schema = interrupt.response_schema
    return Question(
        call_id=CallId(QUESTION + interrupt.id),
        role=role if isinstance(role, str) and 0 < len(role) <= MAX_KEY_CHARS else asks.role,
        text=_cut(asks.text(value) if asks.text is not None else _words(value)),
        expires_seconds=seconds_of("Asks(expires=…)", asks.expires),
        schema=schema if isinstance(schema, dict) else None,
        interrupt=interrupt,
    )


def breakpoint_question(checkpoint: str, nodes: list[str], asks: Asks) -> Question:
    """The question before nodes that the graph was compiled to stop at."""
    return Question(
        call_id=CallId(BREAKPOINT + checkpoint),
        role=asks.role,
        text=_cut(f"The graph stops before {', '.join(nodes)} (interrupt_before). Any answer lets it go on."),
        expires_seconds=seconds_of("Asks(expires=…)", asks.expires),
    )


def _words(value: Any) -> str:
    if isinstance(value, str):
        return value or "(no words)"
    if isinstance(value, dict):
        for name in _TEXTS:
            found = value.get(name)
            if isinstance(found, str) and found:
                rest = {k: v for k, v in value.items() if k not in (name, "role")}
                return found if not rest else f"{found}\n\n{_json(rest)}"
    return _json(value)


def _json(value: Any) -> str:
    plain = to_jsonable_python(value, serialize_unknown=True)
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode("utf-8", "replace")


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= MAX_QUESTION_CHARS else text[: MAX_QUESTION_CHARS - 10] + " … (cut)"


__all__ = ["BREAKPOINT", "QUESTION", "Asks", "Question", "breakpoint_question", "question_of"]
