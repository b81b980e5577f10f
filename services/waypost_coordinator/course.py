"""What measuring a run needs and neither its state nor the log's next event says: when a step was asked for, and what a model had said.

In memory beside the run, bounded, and empty again when the run is loaded anew: then what it would have told of is not measured, or shown
without it. Nothing is decided by it.
"""

from __future__ import annotations

from dataclasses import dataclass

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


class Course:
    """By call id, or by approval id. What is empty takes no memory: most runs in memory wait, and have nothing here."""

    __slots__ = ("_steps", "_thoughts")

    def __init__(self) -> None:
        self._steps: dict[str, OpenStep] | None = None
        self._thoughts: dict[CallId, Thought] | None = None

    def opened(self, key: str, at: float, because: CallId | None = None) -> None:
        """A step was asked for."""
        if self._steps is None:
            self._steps = {}
        if len(self._steps) < MAX_OPEN:
            self._steps[key] = OpenStep(at, at, because)

    def step(self, key: str) -> OpenStep | None:
        """One that is open."""
        return None if self._steps is None else self._steps.get(key)

    def closed(self, key: str) -> OpenStep | None:
        """A step is over: what was known of it."""
        if self._steps is None:
            return None
        step = self._steps.pop(key, None)
        if not self._steps:
            self._steps = None
        return step

    def thought(self, call_id: CallId, thought: Thought) -> None:
        """A model has answered and chosen something."""
        if self._thoughts is None:
            self._thoughts = {}
        elif len(self._thoughts) >= MAX_THOUGHTS:
            del self._thoughts[next(iter(self._thoughts))]
        self._thoughts[call_id] = thought

    def thought_of(self, call_id: CallId) -> Thought | None:
        """What a model had said when it chose."""
        return None if self._thoughts is None else self._thoughts.get(call_id)
