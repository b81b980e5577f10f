"""What a running tool knows about its call, and the answer of a reconcile hook. Built by the gateway."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog


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
