"""One log line for each reasoning step: what the model meant to do, the tool, what came of it, what it cost.

From committed events, so that each step has one line, whatever was redelivered or replayed. A tool call that no model chose has a line
too, without intent and cost. The model's own words are shown only where capturing answers is switched on (`WAYPOST_CAPTURE`).
"""

from __future__ import annotations

from waypost_coordinator.course import Thought
from waypost_core.state import RunState
from waypost_io.logs import FastLog
from waypost_proto.usage import usd_of

MAX_INTENT_CHARS = 300
"""Of the model's words in a line; the log of events has all of them."""

log = FastLog()


class StepLines:
    """`intents`: show what models said. `on=False` writes no lines."""

    def __init__(self, *, on: bool = True, intents: bool = False) -> None:
        self._on = on
        self._intents = intents

    def step(self, state: RunState, call_id: str, *, tool: str, status: str, seconds: float | None, thought: Thought | None) -> None:
        """The step is over, or in doubt. `tool` is "" for an answer that chose none. A cost is shown once per model call."""
        if not self._on:
            return
        intent, cost = "", None
        if thought is not None:
            cost, thought.cost_micros = thought.cost_micros, None
            intent = thought.intent[:MAX_INTENT_CHARS] if self._intents else ""
        log.info(
            "reasoning_step",
            run_id=state.run_id,
            agent=state.agent,
            step=call_id,
            tool=tool,
            status=status,
            seconds=None if seconds is None else round(seconds, 6),
            intent=intent,
            cost_usd=None if cost is None else usd_of(cost),
        )
