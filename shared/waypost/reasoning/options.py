"""What can be said about how a `ReasoningAgent` thinks: its window, whom it may ask, when it stops. Plain values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from waypost.agents import Agent
from waypost.models.messages import Message
from waypost.models.protocol import Model
from waypost.options import Seconds, seconds_of
from waypost_proto.limits import MAX_KEY_CHARS
from waypost_proto.values import Retry

CHARS_PER_TOKEN = 4
"""A rule of thumb for texts in English; where the provider has counted, its count is used."""

SUMMARISE = (
    "You write down what an agent needs in order to go on with its task without the conversation that you are shown: what it was asked, "
    "what it has found out (with names, numbers and identifiers exactly), what it has done, what failed, what is left to do. "
    "Leave out how it got there. Do not continue the task."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much of its conversation a model is shown.

    A conversation past `max_tokens` is compacted before the next turn: all but the last `keep_tokens` of it is summarised by a model call
    that is recorded like any other (`model`: by another model than the agent's). A tool result longer than `max_result_chars` is shown in
    part; the log has the whole. Lengths are the provider's count where it gave one, and otherwise four characters a token.
    """

    max_tokens: int = 100_000
    keep_tokens: int | None = None
    """A quarter of `max_tokens` if not given."""
    max_result_chars: int = 20_000
    summarise: str = SUMMARISE
    model: Model | None = None

    def __post_init__(self) -> None:
        if self.max_tokens < 100 or not 0 < self.kept < self.max_tokens:
            raise ValueError(f"Window(max_tokens={self.max_tokens}, keep_tokens={self.keep_tokens}): at least 100, and keep less than that")
        if self.max_result_chars < 100:
            raise ValueError(f"Window(max_result_chars={self.max_result_chars}): at least 100")

    @property
    def kept(self) -> int:
        """Tokens that a compaction leaves as they are."""
        return self.max_tokens // 4 if self.keep_tokens is None else self.keep_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The model may ask somebody with `role`, who has `expires` to answer."""

    role: str
    expires: Seconds = timedelta(hours=48)

    def __post_init__(self) -> None:
        if not 0 < len(self.role) <= MAX_KEY_CHARS:
            raise ValueError(f"Questions(role={self.role!r}): name who is asked, for example role='officer'")
        seconds_of("Questions(expires=…)", self.expires)


Filter = Callable[[Sequence[Message]], Sequence[Message]]


@dataclass(frozen=True, slots=True)
class Handoff:
    """An agent that the model may hand over to, and what of the conversation goes with it.

    `conversation=True`: all that the model has heard and said, with its calls and their results. A function is given that, and returns what
    goes (`without_calls`: only what was said). It goes as a text before what the model writes for the other agent, which must be a
    `ReasoningAgent`. The oldest of more than a million characters is left out.
    """

    agent: Agent[..., Any]
    conversation: bool | Filter = True

    def __post_init__(self) -> None:
        if self.conversation is not True and self.conversation is not False and not callable(self.conversation):
            raise TypeError(
                f"Handoff(conversation={self.conversation!r}): give True, or a function of the messages that returns those that go"
            )
        if self.conversation and getattr(self.agent, "kind", "") != "reasoning":
            raise TypeError(f"Handoff({self.agent!r}): only a ReasoningAgent can be given the conversation; list this agent as it is")


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One call of the last answer, as `stop_when` sees it. `result` is None where it `failed`."""

    name: str
    arguments: Any
    result: Any
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands when the calls of an answer have come back: what `stop_when` decides by. `taint` labels what came from outside."""

    turns: int
    calls: Sequence[Called]
    taint: frozenset[str]


OUTAGE = Retry(max_attempts=60, initial_seconds=2.0, factor=2.0, max_seconds=300.0, jitter=0.2)
"""A provider that is down: the run waits visibly, holding nothing, for some hours in all."""

__all__ = ["CHARS_PER_TOKEN", "OUTAGE", "SUMMARISE", "Called", "Filter", "Handoff", "Progress", "Questions", "Window"]
