"""Where a reasoning run stands: what its journal says, folded. Data and small questions about it; nothing here decides or asks.

Ids tell what an entry of the journal belongs to: `m3` is the third model call of the run, `m3.1` the first call that it chose, `m3.check`
what was wrong with its answer, `m3.wait` the wait after it failed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from waypost.models.messages import AssistantMessage, Finish, Message, ModelResponse, ToolMessage, ToolUse, UserMessage
from waypost.reasoning.options import CHARS_PER_TOKEN
from waypost_proto.ids import CallId
from waypost_proto.values import Failure

Kind = Literal["think", "plan", "compact"]
"""What a model is asked for; the name of the step."""
KINDS: tuple[Kind, ...] = ("think", "plan", "compact")
_ID = re.compile(r"m([1-9][0-9]*)(?:\.([1-9][0-9]*|check|wait))?")
HANDOFF = "transfer-to-"
"""Before an agent's name: what a model calls to hand the task over."""
UPDATE_PLAN = "update-plan"
ASK_PERSON = "ask-person"


class CannotFold(Exception):
    """The journal holds what no reasoning agent wrote. `expected` is what it has, `found` what would have fitted."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"the journal has {expected}, not {found}")
        self.expected = expected
        self.found = found


class Answer(ModelResponse, frozen=True, kw_only=True, omit_defaults=True):
    """A model's answer as the journal keeps it, with what it answered to."""

    heard: int = 0
    """Seq of the last outside event that the request knew of: a later instruction was not heard."""
    through: int = 0
    """Of a compaction: the number of the first message that it left as it was."""


class PlanStep(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a plan."""

    step: str
    status: Literal["todo", "doing", "done", "dropped"] = "todo"


class Note(Struct, frozen=True, kw_only=True):
    """Something that somebody said to the run, and that no model has heard yet."""

    seq: int
    text: str


@dataclass(slots=True)
class Chosen:
    """One call that the current answer chose, and what became of it."""

    id: CallId
    use: ToolUse
    stage: Literal["chosen", "open", "done"] = "chosen"
    message: ToolMessage | None = None
    value: bytes | None = None
    """The whole result as JSON, until the next answer; None where it failed."""


class Reply(Struct, frozen=True, kw_only=True):
    """An answer without calls: the run's result, if it fits."""

    id: CallId
    text: str
    finish: Finish


@dataclass(slots=True)
class Dialogue:
    """The conversation from the last compaction on. Messages are numbered from the beginning of the run; `first` is the number of ours."""

    messages: list[Message] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    first: int = 0
    summary: str = ""
    chars: int = 0
    """Of `messages` and `summary`."""
    counted: int = 0
    """Tokens of everything up to the last answer, as its provider counted; 0: nobody has."""
    since: int = 0
    """Characters that were added after that."""

    def add(self, message: Message) -> None:
        size = size_of(message)
        self.messages.append(message)
        self.sizes.append(size)
        self.chars += size
        self.since += size

    def count(self, tokens: int) -> None:
        """A provider says how many tokens all of it is."""
        if tokens > 0:
            self.counted, self.since = tokens, 0

    @property
    def tokens(self) -> int:
        """How long it is for a model, about."""
        return self.counted + self.since // CHARS_PER_TOKEN if self.counted else self.chars // CHARS_PER_TOKEN

    def cut(self, through: int, summary: str) -> None:
        """Everything before message number `through` is now `summary`."""
        gone = min(max(0, through - self.first), len(self.messages))
        del self.messages[:gone]
        del self.sizes[:gone]
        self.first += gone
        self.summary = summary
        self.chars = sum(self.sizes) + len(summary)
        self.counted = self.since = 0

    def cut_at(self, keep_tokens: int) -> int | None:
        """Where to cut so that about `keep_tokens` are left: never between a call and its result. None: there is nothing to cut."""
        keep, last = keep_tokens * CHARS_PER_TOKEN, None
        for index in range(len(self.messages) - 1, 0, -1):
            keep -= self.sizes[index]
            if keep < 0 and last is not None:
                break
            if not isinstance(self.messages[index], ToolMessage):
                last = index
        return None if last is None else self.first + last


@dataclass(slots=True)
class State:
    """What the journal says so far. Two states of the same journal are equal, however the journal was divided while it was folded."""

    started: bool = False
    ended: bool = False
    """Its code has said how it ends."""
    clock: float = 0.0
    """The run's clock: the time of the latest entry."""
    taint: tuple[str, ...] = ()
    opening: str = ""
    """The input, as the model reads it."""
    dialogue: Dialogue = field(default_factory=Dialogue)
    notes: list[Note] = field(default_factory=list)
    calls: int = 0
    """Model calls that have ended, well or not."""
    turns: int = 0
    """Answers that were given while thinking."""
    chosen: list[Chosen] = field(default_factory=list)
    """What the last answer chose."""
    reply: Reply | None = None
    """The last answer, if it chose nothing and was not found wanting."""
    repairs: int = 0
    """Answers in a row that were found wanting."""
    failure: Failure | None = None
    """Why the last model call failed."""
    failures: int = 0
    """Model calls in a row that failed."""
    waiting: bool = False
    """A timer runs until the next try."""
    plan: tuple[PlanStep, ...] | None = None
    shown: bytes = b""
    """The state that people see."""

    @property
    def next_model_id(self) -> CallId:
        return CallId(f"m{self.calls + 1}")

    @property
    def last_model_id(self) -> CallId:
        return CallId(f"m{self.calls}")

    @property
    def busy(self) -> bool:
        """Calls of the last answer have not come back."""
        return any(call.stage != "done" for call in self.chosen)

    def find(self, call_id: CallId) -> Chosen | None:
        """The call of the last answer with this id."""
        number, part = parse_id(call_id) or (0, "")
        if number != self.calls or not part.isdigit() or int(part) > len(self.chosen):
            return None
        return self.chosen[int(part) - 1]


def parse_id(call_id: str) -> tuple[int, str] | None:
    """`m3` as (3, ""), `m3.1` as (3, "1"), `m3.check` as (3, "check"); None for what no reasoning agent writes."""
    match = _ID.fullmatch(call_id)
    return None if match is None else (int(match[1]), match[2] or "")


def size_of(message: Message) -> int:
    """Characters that a model reads of it."""
    match message:
        case UserMessage() | ToolMessage():
            return len(message.text)
        case AssistantMessage():
            return len(message.text) + sum(len(use.name) + len(use.arguments) for use in message.tool_uses)


__all__ = [
    "ASK_PERSON",
    "HANDOFF",
    "KINDS",
    "UPDATE_PLAN",
    "Answer",
    "CannotFold",
    "Chosen",
    "Dialogue",
    "Kind",
    "Note",
    "PlanStep",
    "Reply",
    "State",
    "parse_id",
    "size_of",
]
