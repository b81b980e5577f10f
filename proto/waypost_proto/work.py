"""Between coordinator and worker: activations out, confirmations and stop notices back.

An activation is one delivery of a run: "here is what is new, go on until you wait". It carries journal entries
after `seen`, never the history (P10). A worker that does not hold the journal of digest `base` fetches it with
`runs.journal`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw

from waypost_proto.ids import CallId, RunId
from waypost_proto.values import Count, Token, Value


class Entry(Value, frozen=True, kw_only=True):
    """One event of the journal as the worker needs it: `data` as in the log, `at` its time in Unix seconds."""

    seq: Count
    type: str
    at: float
    data: Raw


class Activation(Value, frozen=True, kw_only=True):
    """`base` is the digest of the journal that the coordinator has; entries are the outside events after `seen`.

    `upto` is the seq of the last of them. With `fetch` they were too many to carry. `steps_left` is what the worker
    may spend on local steps and calls before it must ask (`RequestStep`), leased to it and to nobody else; None: no limit.
    """

    run_id: RunId
    agent: str
    build: str
    token: Token
    base: str
    seen: Count
    upto: Count
    entries: list[Entry] = []
    fetch: bool = False
    steps_left: Count | None = None
    deadline_at: float | None = None
    metered: bool = False
    """Tokens or cost are limited: a local step that reserves any asks first (`RequestStep`)."""
    unfunded: list[CallId] = []
    """Local steps that were asked for and do not fit the budget yet: not to be started."""
    correlation_id: str = ""
    tenant: str = "default"
    now: float = 0.0
    """The database's clock when it was sent, Unix seconds: what a worker goes by instead of its own wall clock."""
    v: int = 1
    cost_limited: bool = False
    """Cost is limited: a model without a known price is not asked."""
    sender: str = ""
    """The coordinator that sent it: answers to the same one may share a message (`mailbox.MailFrame`). "": it takes none."""


class ActivationFrame(Value, frozen=True, kw_only=True):
    """Several activations on one worker's own subject, each of another run and whole in itself: only for a worker whose heartbeat says
    `frames`. Acknowledged when every one of them is answered; delivered again as a whole.
    """

    activations: list[Raw]


class Accepted(Value, frozen=True, array_like=True):
    """The advance that led to this digest is committed."""

    run_id: RunId
    digest: str
    seen: Count


class Rejected(Value, frozen=True, array_like=True):
    """The advance on `base` does not fit: drop the run from the cache; a new activation follows where one is needed."""

    run_id: RunId
    base: str
    reason: str


class Confirm(Value, frozen=True, kw_only=True):
    """One message a batch and worker on `waypost.confirm.<worker>` (core NATS): what was committed, what was refused."""

    accepted: list[Accepted] = []
    rejected: list[Rejected] = []
    now: float = 0.0
    """The database's clock when it was sent, Unix seconds."""


class Stop(Value, frozen=True, kw_only=True):
    """On `waypost.stop` (core NATS, to every worker and gateway): let go of these runs.

    `ended`: cancel what runs for it. `paused`: start nothing new, finish and report what runs, then let go.
    `cancelled_call`: only this call is no longer wanted.
    """

    run_id: RunId
    why: Literal["ended", "paused", "cancelled_call"]
    call_id: CallId | None = None


class JournalPage(Value, frozen=True, kw_only=True):
    """Answer of `runs.journal`: the journal after a seq, in order, with what the run's state says of it.

    Entries are outside events and the worker's own (`StepCompleted`, `ToolCallRequested`, …), oldest first. `digest` and `seen` are
    the coordinator's at the end of the log; `next_after` is set when there is more.
    """

    run_id: RunId
    agent: str
    build: str
    digest: str
    seen: Count
    last_seq: Count
    status: str
    entries: list[Entry] = []
    next_after: Count | None = None
