"""What follows from an event, as data: rows for the same transaction, and dispatches for after it.

The shell turns rows into a `Commit` and dispatches into publishes. Nothing here is stored; all of it can be derived
from the log again.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from waypost_proto.events import QuestionAsked
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import AskLease, Cancel, ChildEnded, GrantLease, Pause, RecallLease, Resume, ReturnLease, StartRun
from waypost_proto.notices import Notice

# -- rows, written with the events


class SetTimer(Struct, frozen=True):
    """Wake the run for `timer_id` at `due_at` (Unix seconds)."""

    timer_id: str
    due_at: float


class ClearTimer(Struct, frozen=True):
    timer_id: str


class GrantPermit(Struct, frozen=True):
    """A ledger row for the current attempt of this call."""

    call_id: CallId
    force: bool = False


class RevokeRun(Struct, frozen=True):
    """Revoke every permit of the run that was not started."""


class RevokeCall(Struct, frozen=True):
    call_id: CallId


class OpenApproval(Struct, frozen=True, kw_only=True):
    """The row of an approval or a question, or (the same id again) who of its quorum has approved by now."""

    approval_id: str
    call_id: CallId
    role: str
    expires_at: float
    reason: str
    asked: QuestionAsked | None = None


class CloseApproval(Struct, frozen=True, kw_only=True):
    approval_id: str
    call_id: CallId
    state: Literal["granted", "denied", "expired", "withdrawn"]
    by: str = ""
    reason: str = ""


# -- dispatches, published after the commit; `sent` is the event that caused it


class Activate(Struct, frozen=True):
    """Give the run to a worker: there is something new, or it must be taken up again."""

    sent: int


class SendTool(Struct, frozen=True):
    call_id: CallId
    sent: int
    mode: Literal["execute", "reconcile"] = "execute"


class SendMail(Struct, frozen=True):
    """A message to another run: a row of `inbox` in the same transaction, and a dispatch."""

    to: RunId
    agent: str
    mail: StartRun | Cancel | Pause | Resume | ChildEnded | AskLease | GrantLease | RecallLease | ReturnLease
    sent: int
    key: str
    """Makes the inbox row's id, the same however often it is derived."""


class Notify(Struct, frozen=True):
    """Tell the supervisor: a row and a dispatch."""

    notice: Notice
    sent: int


class StopWork(Struct, frozen=True):
    """Tell workers and gateways to let go (core NATS; losing it costs time, not safety)."""

    why: Literal["ended", "paused", "cancelled_call"]
    call_id: CallId | None = None


Row = SetTimer | ClearTimer | GrantPermit | RevokeRun | RevokeCall | OpenApproval | CloseApproval
Dispatch = Activate | SendTool | SendMail | Notify | StopWork
AnyEffect = Row | Dispatch
