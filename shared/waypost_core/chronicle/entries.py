"""What a chronicle remembers. Times are aware datetimes in UTC; amounts of money are US dollars, for showing.

These are owned and changed by the fold; an `Account` is read when it has been made. As JSON they are what `waypost runs explain --json`
prints.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from waypost_proto.values import Budget

_LAST = 253_402_300_799.0
"""The end of the year 9999, past which no date can be written."""

Kind = Literal["model", "step", "tool", "child", "timer", "signal", "question", "pause", "checkpoint", "note"]
Outcome = Literal[
    "", "completed", "failed", "cancelled", "denied", "fired", "received", "answered", "unanswered", "withdrawn", "resumed", "dropped"
]
"""How an entry ended; "" while it has not. `dropped`: the run ended before it."""


def when(unix_seconds: float) -> datetime:
    """A time of the log. Never raises: what cannot be written as a date is the nearest that can."""
    return datetime.fromtimestamp(min(max(unix_seconds, 0.0), _LAST), UTC)


class Attempt(Struct, kw_only=True, omit_defaults=True):
    """One try of a tool call, or (`reconcile`) the question whether it took effect."""

    number: int
    began: datetime
    ended: datetime | None = None
    mode: Literal["execute", "reconcile"] = "execute"
    outcome: Literal["", "answered", "failed", "in doubt", "not done", "not started", "cancelled"] = ""
    error: str = ""


class Wait(Struct, kw_only=True, omit_defaults=True):
    """A time in which nothing was done. `until` is when it was to end by itself, `why` what it waited for."""

    what: Literal["retry", "budget", "host", "breaker", "busy", "doubt"]
    began: datetime
    until: datetime | None = None
    ended: datetime | None = None
    why: str = ""


class Gate(Struct, kw_only=True, omit_defaults=True):
    """An approval that was asked for. `rule` and `policy_version` name the policy that asked, if one did; else the agent's code did."""

    approval_id: str
    role: str
    began: datetime
    until: datetime
    reason: str = ""
    rule: str = ""
    policy_version: str = ""
    quorum: int = 1
    given_by: list[str] = []
    decision: Literal["", "granted", "denied", "edited", "expired", "escalated", "withdrawn"] = ""
    by: str = ""
    why: str = ""
    ended: datetime | None = None


class Entry(Struct, kw_only=True, omit_defaults=True):
    """One thing that the run did, waited for or was told. `seq` is the event with which it began.

    `text`: a model's intent, a question, a pause's reason, a note. `given`: arguments, input, payload. `got`: result or answer, as JSON.
    """

    kind: Kind
    seq: int
    began: datetime
    ended: datetime | None = None
    outcome: Outcome = ""
    name: str = ""
    call_id: str = ""
    because: str = ""
    """The model call that chose it."""
    effect: str = ""
    text: str = ""
    given: str = ""
    got: str = ""
    error: str = ""
    by: str = ""
    via: str = ""
    until: datetime | None = None
    attempts: list[Attempt] = []
    waits: list[Wait] = []
    gates: list[Gate] = []
    tried: list[str] = []
    """Requests of a model call that got no answer."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    child_run: str = ""
    in_doubt: bool = False
    unwanted: bool = False
    """The code no longer waits for it."""
    more: list[str] = []
    """What was said of it later: notices that were escalated, arguments that were edited, new limits."""


class Pending(Struct, kw_only=True, omit_defaults=True):
    """What a run waits for, and what one can do: commands as they are typed, each with its use."""

    what: str
    since: datetime
    until: datetime | None = None
    call_id: str = ""
    do: list[tuple[str, str]] = []
    """(what it does, the command)."""


class Totals(Struct, kw_only=True, omit_defaults=True):
    """What the run used. `children_*` is what its children and theirs did."""

    events: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    attempts_failed: int = 0
    children: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    children_tokens: int = 0
    children_cost_usd: float = 0.0


class Account(Struct, kw_only=True, omit_defaults=True):
    """Everything that the log says of a run, for people. `status` is `open`, `paused`, `ending` or how it ended; `outcome` says why."""

    run_id: str
    agent: str
    status: str
    outcome: str
    build: str = ""
    tenant: str = "default"
    started_by: str = ""
    started_at: datetime
    ended_at: datetime | None = None
    deadline: datetime | None = None
    parent_run: str = ""
    parent_agent: str = ""
    correlation_id: str = ""
    idempotency_key: str = ""
    labels: dict[str, str] = {}
    budget: Budget = Budget()
    input: str = ""
    result: str = ""
    error: str = ""
    totals: Totals
    entries: list[Entry] = []
    pending: list[Pending] = []
