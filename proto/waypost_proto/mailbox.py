"""What travels on `waypost.mailbox.<kind>.<name>.<run_id>`: everything that can change a run.

Three kinds, so that permissions can tell senders apart: `advance` from workers, `result` from gateways, `control`
from the API and from other runs. One tagged union, so that the coordinator decodes with one decoder.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Raw, UnsetType

from waypost_proto.forks import ForkTools
from waypost_proto.ids import CallId, RunId
from waypost_proto.usage import Lease, Usage
from waypost_proto.values import (
    AtLeastOne,
    BlobRef,
    Budget,
    Count,
    Failure,
    NonNegative,
    Parent,
    Positive,
    Proof,
    RunStatus,
    Token,
    Value,
)


class Mail(Value, tag_field="type", frozen=True, kw_only=True):
    """Base of the union; never sent itself."""

    run_id: RunId


class Advance(Mail, tag="advance", frozen=True, kw_only=True):
    """A worker's answer: local results and new commands, accepted only when `base` is the run's journal digest.

    `items` are the JSON array of `AnyItem` exactly as hashed by `ids.chain_digest`. `running` local effects are
    still in flight after it. Sending it twice has no effect: the digest no longer matches.
    """

    agent: str
    worker: str
    build: str
    token: Token
    base: str
    seen: Count
    running: Count = 0
    items: Raw


class ToolMail(Mail, frozen=True, kw_only=True):
    """Base of a gateway's answers about one attempt of one call. Idempotent by (run, call, attempt)."""

    call_id: CallId
    attempt: Count
    gateway: str = ""
    call_digest: str = ""
    """`args_digest` of the call that it answers; an answer to other arguments than those in the log is ignored."""


class ToolSucceeded(ToolMail, tag="tool_succeeded", frozen=True, kw_only=True):
    """The tool returned; `via` says who knew: the call itself, the ledger (a repeat), or the reconcile hook."""

    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    via: Literal["call", "ledger", "reconcile"] = "call"
    duration_seconds: NonNegative = 0.0
    taint: tuple[str, ...] = ()
    usage: Usage | None = None
    """What the attempt used, if the tool said so; None: what was reserved counts."""


class ToolFailed(ToolMail, tag="tool_failed", frozen=True, kw_only=True):
    """The attempt failed and surely has no unsafe effect. Not `retryable`: trying again cannot help.

    `kinds`: the names of the error's class and those it is derived from, which the retry policy is held against.
    """

    error: Failure
    retryable: bool = True
    retry_after_seconds: NonNegative | None = None
    duration_seconds: NonNegative = 0.0
    kinds: tuple[str, ...] = ()
    taint: tuple[str, ...] = ()
    usage: Usage | None = None


class ToolUncertain(ToolMail, tag="tool_uncertain", frozen=True, kw_only=True):
    """An unsafe call may or may not have taken effect. `settle_seconds`: not before then may it be reconciled."""

    error: Failure
    settle_seconds: NonNegative = 0.0


class ToolNotDone(ToolMail, tag="tool_not_done", frozen=True, kw_only=True):
    """The reconcile hook says that the effect surely did not take place."""


class ToolUnknown(ToolMail, tag="tool_unknown", frozen=True, kw_only=True):
    """The reconcile hook could not tell; the coordinator asks again later, then a person."""

    error: Failure


class ToolRefused(ToolMail, tag="tool_refused", frozen=True, kw_only=True):
    """The gateway did not start the call: no valid permit, other arguments, no valid approval, not on the allow-list."""

    error: Failure


class ToolDeferred(ToolMail, tag="tool_deferred", frozen=True, kw_only=True):
    """The gateway did not start the call and wants it again, the same attempt, after `retry_after_seconds`: the tool's breaker is open."""

    why: Literal["breaker", "busy"]
    message: str
    retry_after_seconds: NonNegative


class ToolNeedsApproval(ToolMail, tag="tool_needs_approval", frozen=True, kw_only=True):
    """The gateway did not start the call: its policy wants people to approve exactly these arguments first.

    `quorum` people with `role` within `expires_seconds`; what happens when nobody decides in time is `on_expiry`. `rule` and
    `policy_version` name what asked. When the approval is granted the call is sent again, and the policy is asked again.
    """

    tool: str
    args_digest: str
    rule: str
    policy_version: str
    role: str
    quorum: AtLeastOne = 1
    expires_seconds: Positive = 48 * 3600.0
    on_expiry: Literal["deny", "escalate"] = "deny"
    reason: str = ""
    escalate_to: str = ""
    """The role that is asked next with `on_expiry` `escalate`; "": `admin`."""
    escalate_seconds: Positive | None = None
    separate: bool = True
    """Who started the run may not approve. Only a policy can say otherwise."""


class StartRun(Mail, tag="start_run", frozen=True, kw_only=True):
    """Start a run (API, intake, parent). Repeating it for a run that exists has no effect but a fresh answer."""

    agent: str
    input: Raw | UnsetType = UNSET
    input_ref: BlobRef | UnsetType = UNSET
    idempotency_key: str | None = None
    correlation_id: str | None = None
    budget: Budget | None = None
    deadline: str | None = None
    labels: dict[str, str] = {}
    tenant: str = "default"
    parent: Parent | None = None
    trace: str = ""
    taint: tuple[str, ...] = ()
    lease: Lease | None = None
    request_id: str = ""
    reply_to: str = ""
    starter: str = ""
    """Who starts it, as authenticated."""


class ForkRun(Mail, tag="fork_run", frozen=True, kw_only=True):
    """Make run `run_id` a fork of run `source` after its event `seq`. Repeating it for a fork that exists has no effect but a fresh answer.

    `input` replaces the source's; then `seq` is 1. `deadline` and `budget` are the fork's own; without them it has the source's budget and
    no deadline.
    """

    source: RunId
    seq: Count
    tools: ForkTools = "recorded"
    input: Raw | UnsetType = UNSET
    input_ref: BlobRef | UnsetType = UNSET
    budget: Budget | None = None
    deadline: str | None = None
    labels: dict[str, str] = {}
    tenant: str = "default"
    trace: str = ""
    starter: str = ""
    by: str = ""
    reply_to: str = ""


class Control(Mail, frozen=True, kw_only=True):
    """Base of what people and programs do to a run. `request_id` makes a repeat harmless; `reply_to` awaits the commit."""

    request_id: str
    by: str = ""
    reply_to: str = ""


class Signal(Control, tag="signal", frozen=True, kw_only=True):
    """Something from outside that the code may await by name."""

    name: str
    payload: Raw | UnsetType = UNSET
    payload_ref: BlobRef | UnsetType = UNSET


class Pause(Control, tag="pause", frozen=True, kw_only=True):
    """Hold the run where it is; unstarted permits are revoked before this is confirmed."""

    reason: str = ""


class Resume(Control, tag="resume", frozen=True, kw_only=True):
    """Go on exactly there: the limits in `budget` are new values, those in `extra` are added to what they are.

    `instruction` is given to the agent's code before anything else. `tools`: of a fork, how its calls are answered from here on.
    """

    budget: Budget | None = None
    extra: Budget | None = None
    instruction: str = ""
    tools: ForkTools | None = None


class Cancel(Control, tag="cancel", frozen=True, kw_only=True):
    """End the run: nothing unstarted takes effect after this is confirmed; children are cancelled too."""

    reason: str = ""


class DecideApproval(Control, tag="decide_approval", frozen=True, kw_only=True):
    """Approve or deny exactly the call that the approval is bound to, approve it with other `args`, or answer a question.

    `authenticated`: `by` and `roles` are those of an identity that was verified, not the caller's word; `proof` is what it signed.
    """

    approval_id: str
    decision: Literal["approve", "deny", "answer"]
    roles: list[str] = []
    reason: str = ""
    args: Raw | UnsetType = UNSET
    answer: Raw | UnsetType = UNSET
    authenticated: bool = False
    proof: Proof | None = None
    via: str = ""
    """Who authenticated `by`, when that was a delegate."""
    tenant: str = ""
    """The only tenant whose runs exist for `by`; "": any."""
    agents: list[str] = []
    """The only agents whose runs do; empty: any."""


class ResolveCall(Control, tag="resolve_call", frozen=True, kw_only=True):
    """A person settles a call in doubt: it took effect with this result, it did not, or it is given up as failed."""

    call_id: CallId
    outcome: Literal["completed", "not_done", "failed"]
    result: Raw | UnsetType = UNSET
    reason: str = ""


class ChildEnded(Mail, tag="child_ended", frozen=True, kw_only=True):
    """A child run tells its parent how it ended (a row of `inbox` until the parent has recorded it)."""

    call_id: CallId
    child: RunId
    status: RunStatus
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    error: Failure | None = None
    taint: tuple[str, ...] = ()
    usage: Usage | None = None


class AskLease(Mail, tag="ask_lease", frozen=True, kw_only=True):
    """A child asks its parent for `need` more than it has. `number` counts its questions, so a repeat is harmless."""

    call_id: CallId
    child: RunId
    need: Usage
    spent: Usage
    number: Count


class GrantLease(Mail, tag="grant_lease", frozen=True, kw_only=True):
    """A parent gives its child more: `lease` is the total ever given, so a repeat changes nothing."""

    lease: Lease


class RecallLease(Mail, tag="recall_lease", frozen=True, kw_only=True):
    """A parent asks its child for what it does not need right now. Answered by `ReturnLease` with the same number."""

    number: Count


class ReturnLease(Mail, tag="return_lease", frozen=True, kw_only=True):
    """A child gives back what it does not need: `returned` is the total ever given back."""

    call_id: CallId
    child: RunId
    returned: Usage
    spent: Usage
    number: Count
    asked: Count | None = None
    """The number of its last question before: that counted on what goes back, and is void. None: not said."""


AnyToolMail = ToolSucceeded | ToolFailed | ToolUncertain | ToolNotDone | ToolUnknown | ToolRefused | ToolNeedsApproval | ToolDeferred
AnyControl = StartRun | ForkRun | Signal | Pause | Resume | Cancel | DecideApproval | ResolveCall | ChildEnded
AnyLeaseMail = AskLease | GrantLease | RecallLease | ReturnLease
AnyMail = Advance | AnyToolMail | AnyControl | AnyLeaseMail


class MailFrame(Value, tag_field="type", tag="frame", frozen=True, kw_only=True):
    """Several advances for runs of one agent, or several results of one tool, on the subject of the first: answers to what one coordinator
    sent (`sender`). Acknowledged when every one of them is done with; delivered again as a whole.
    """

    mail: list[Raw]


AnyFramed = Advance | AnyToolMail
"""What a frame may carry."""
AnyMailed = AnyMail | MailFrame
"""What a message of the mailbox may carry."""


class Reply(Value, frozen=True, kw_only=True):
    """The coordinator's answer to `reply_to`, sent after the commit. `code` is an HTTP status number."""

    run_id: RunId
    ok: bool
    status: RunStatus | None = None
    code: str = "200"
    message: str = ""
    duplicate: bool = False
