"""What measuring a run needs and neither its state nor the log's next event says: when a step was asked for, and what a model had said.

In memory beside the run, bounded, and empty again when the run is loaded anew: then what it would have told of is not measured, or shown
without it. Nothing is decided by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from waypost_proto.ids import CallId

MAX_OPEN = 1_000
"""Open steps of one run that are timed."""
MAX_THOUGHTS = 16
"""Last model calls of one run whose words are kept for the tools that they chose."""


@dataclass(slots=True)
class OpenStep:
    """A tool call, child run or approval that is not over. `sent_at` is when it last went on the road."""

    at: float
    sent_at: float
    because: CallId | None = None


@dataclass(slots=True)
class Thought:
    """What a model said it was about to do, and what asking it cost (micro-dollars, None: nobody knows). The first step that follows from
    it carries the cost, so that costs of lines can be added."""

    intent: str
    cost_micros: int | None


@dataclass(slots=True)
class Course:
    """By call id, or by approval id."""

    steps: dict[str, OpenStep] = field(default_factory=dict)
    thoughts: dict[CallId, Thought] = field(default_factory=dict)

    def opened(self, key: str, at: float, because: CallId | None = None) -> None:
        """A step was asked for."""
        if len(self.steps) < MAX_OPEN:
            self.steps[key] = OpenStep(at, at, because)

    def thought(self, call_id: CallId, thought: Thought) -> None:
        """A model has answered and chosen something."""
        if len(self.thoughts) >= MAX_THOUGHTS:
            del self.thoughts[next(iter(self.thoughts))]
        self.thoughts[call_id] = thought
