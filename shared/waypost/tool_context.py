"""What a running tool knows about its call, and the answer of a reconcile hook. Built by the gateway."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from waypost.metering import Dollars, Meter


class NotDone(enum.Enum):
    """Type of `NOT_DONE`."""

    NOT_DONE = "not_done"


NOT_DONE: Final = NotDone.NOT_DONE
"""What a reconcile hook returns when the effect surely did not take place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """Optional first parameter of a tool. Every field has a default so that a test can make one.

    `idempotency_key` is the same for every attempt of a call: give it to the service that is called. `attempt`
    counts from 1. `deadline` is when the attempt will be stopped (aware, UTC), None without a limit.
    """

    idempotency_key: str = "test-key"
    run_id: str = "00000000-0000-7000-8000-000000000000"
    call_id: str = "0:1"
    agent: str = "test"
    tool: str = ""
    attempt: int = 1
    deadline: datetime | None = None
    tenant: str = "default"
    correlation_id: str = ""
    log: Any = field(default_factory=lambda: structlog.get_logger("waypost.tool"), compare=False, repr=False)
    """A structlog logger, bound to the call by the gateway."""
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)

    def spent(self, *, tokens: int = 0, cost_usd: Dollars = 0) -> None:
        """Say what this attempt has used; several reports add up. A tool that says nothing has used what it reserved
        (`@tool(max_tokens=…, max_cost_usd=…)`). Raises `ValueError` for negative amounts."""
        self.meter.add(tokens=tokens, cost_usd=cost_usd)
