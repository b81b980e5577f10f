"""The event log: what happened to a run, past tense, immutable, numbered without a gap. A stored tag never changes.

The stored bytes are the published bytes: `encode(Event)`. `data` is one of the structs below, tagged by the same
`type` as the envelope. Events that the agent's code is given (`OUTSIDE`) and those that its worker reported
together make up the journal.
"""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Raw, UnsetType

from waypost_proto.forks import ForkOrigin, ForkTools, Recalled
from waypost_proto.ids import CallId, RunId
from waypost_proto.models import ModelCall
from waypost_proto.usage import Lease, Rung, Usage
from waypost_proto.values import (
    Approval,
    BlobRef,
    Budget,
    Count,
    Edit,
    Effect,
    Failure,
    Mark,
    NonNegative,
    Parent,
    Retry,
    RunStatus,
    Value,
)


class Event(Value, frozen=True, kw_only=True):
    """The envelope, as stored and as published to `waypost.events.<agent>.<run_id>.<type>`."""

    run_id: RunId
    seq: Count
    type: str
    agent: str
    correlation_id: str
    recorded_at: str
    tenant: str = "default"
    cause: str = ""
    v: int = 1
    data: Raw


class Data(Value, tag_field="type", frozen=True, kw_only=True):
    """Base of the union of event data; never stored itself."""


class FromWorker(Data, frozen=True, kw_only=True):
    """Base of events that an advance brought: what the code had seen, and on the last of them the advance's mark."""

    seen: Count = 0
    mark: Mark | None = None


class RunStarted(Data, tag="run_started", frozen=True, kw_only=True):
    input: Raw | UnsetType = UNSET
    input_ref: BlobRef | UnsetType = UNSET
    input_digest: str = ""
    budget: Budget = Budget()
    deadline_at: float | None = None
    labels: dict[str, str] = {}
    idempotency_key: str | None = None
    parent: Parent | None = None
    trace: str = ""
    taint: tuple[str, ...] = ()
    starter: str = ""
    """Who started it, as authenticated; of a child, who started its eldest ancestor. "": nobody knows."""
    lease: Lease | None = None
    """What the parent gave at the start; None for a run without a parent."""
    ladder: list[Rung] = []
    known: bool = False
    """Somebody has announced the agent."""
    watched: bool = False
    """What it asks for and puts out is remembered, to find loops."""
    fork: ForkOrigin | None = None
    """It begins with events of another run."""


class RunForked(Data, tag="run_forked", frozen=True, kw_only=True):
    """What precedes is a copy of the first `seq` events of run `source`; the run goes on by itself from here.

    `tools` and `identity` hold from here on, see `forks.ForkOrigin`. Everything that was open in the copy is open here, and has not been
    sent for this run. `deadlines` (Unix seconds) are those of the children among it; one that is not named has none.
    """

    source: RunId
    seq: Count
    tools: ForkTools
    identity: RunId
    by: str = ""
    budget: Budget = Budget()
    deadline_at: float | None = None
    changed: bool = False
    deadlines: dict[CallId, float] = {}
    recalled: Recalled | None = None


class ForkToolsChanged(Data, tag="fork_tools_changed", frozen=True, kw_only=True):
    """From here on the calls of a fork are answered in another way. `identity` as in `RunForked`."""

    tools: ForkTools
    identity: RunId
    by: str = ""


class StepRecalled(Data, tag="step_recalled", frozen=True, kw_only=True):
    """A local step of a fork is not run: it has the source's recorded result, or its error."""

    call_id: CallId
    name: str
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    error: Failure | None = None
    model: ModelCall | None = None
    recalled: Recalled


class RunAdvanced(FromWorker, tag="run_advanced", frozen=True, kw_only=True):
    """The worker has read further, or works on something local, without anything new to record."""


class StepCompleted(FromWorker, tag="step_completed", frozen=True, kw_only=True):
    call_id: CallId
    name: str
    at: NonNegative
    duration_seconds: NonNegative = 0.0
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    usage: Usage | None = None
    fingerprint: str = ""
    model: ModelCall | None = None
    asked: str = ""
    """16 hex digits of what a local step was asked, to compare; "" if that cannot be told."""


class StepFailed(FromWorker, tag="step_failed", frozen=True, kw_only=True):
    call_id: CallId
    name: str
    at: NonNegative
    duration_seconds: NonNegative = 0.0
    error: Failure
    usage: Usage | None = None
    model: ModelCall | None = None
    asked: str = ""


class StepRequested(FromWorker, tag="step_requested", frozen=True, kw_only=True):
    """`unfunded`: the budget does not hold it; it may begin after its `call_funded`."""

    call_id: CallId
    name: str
    reserve: Usage | None = None
    attempt: Count = 1
    unfunded: bool = False
    asked: str = ""
    """Of what it asks, to compare: 16 hex digits, or a model request's whole digest."""
    held: bool = False
    """In a fork: it waits for the source's result, or for a person."""


class ToolCallRequested(FromWorker, tag="tool_call_requested", frozen=True, kw_only=True):
    """`effect` is None while nobody hosts the tool: the call is held until someone does. `unfunded`: the budget does not hold it; it is
    sent after its `call_funded`. `because`: the model call that chose it."""

    call_id: CallId
    tool: str
    args: Raw | UnsetType = UNSET
    args_ref: BlobRef | UnsetType = UNSET
    args_digest: str
    idempotency_key: str
    effect: Effect | None = None
    timeout_seconds: float | None = None
    retry: Retry | None = None
    approval: Approval | None = None
    reserve: Usage | None = None
    unfunded: bool = False
    because: CallId | None = None


class ToolCallDispatched(Data, tag="tool_call_dispatched", frozen=True, kw_only=True):
    """A held or repeated call goes to a gateway (the first dispatch of a call follows from its request alone)."""

    call_id: CallId
    attempt: Count
    mode: Literal["execute", "reconcile"] = "execute"
    effect: Effect | None = None
    timeout_seconds: float | None = None
    retry: Retry | None = None


class ToolAttemptFailed(Data, tag="tool_attempt_failed", frozen=True, kw_only=True):
    """An attempt failed; with `next_attempt_at` (Unix seconds) another follows."""

    call_id: CallId
    tool: str
    attempt: Count
    max_attempts: Count
    error: Failure
    next_attempt_at: float | None = None
    retry_after_seconds: float | None = None
    usage: Usage | None = None


class ToolCallDeferred(Data, tag="tool_call_deferred", frozen=True, kw_only=True):
    """The gateway did not start the call: the tool's breaker is open. The same attempt follows at `next_attempt_at` (Unix seconds)."""

    call_id: CallId
    tool: str
    attempt: Count
    why: Literal["breaker", "busy"]
    message: str
    next_attempt_at: float


class ToolCallCompleted(Data, tag="tool_call_completed", frozen=True, kw_only=True):
    call_id: CallId
    tool: str
    attempt: Count
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    via: Literal["call", "ledger", "reconcile", "person"] = "call"
    by: str = ""
    duration_seconds: NonNegative = 0.0
    taint: tuple[str, ...] = ()
    edit: Edit | None = None
    usage: Usage | None = None
    recalled: Recalled | None = None


class ToolCallFailed(Data, tag="tool_call_failed", frozen=True, kw_only=True):
    """Final: the code gets this error at the call. A policy that denied it is named in the error's `details`."""

    call_id: CallId
    tool: str
    attempt: Count
    error: Failure
    by: str = ""
    taint: tuple[str, ...] = ()
    edit: Edit | None = None
    usage: Usage | None = None
    recalled: Recalled | None = None


class ToolCallInDoubt(Data, tag="tool_call_in_doubt", frozen=True, kw_only=True):
    """May have taken effect. With `reconcile_at` the hook will be asked then, without it a person must resolve it."""

    call_id: CallId
    tool: str
    attempt: Count
    error: Failure
    reconcile_at: float | None = None


class ToolCallCancelRequested(FromWorker, tag="tool_call_cancel_requested", frozen=True, kw_only=True):
    """The code no longer waits for a call that may have started; it is settled by its answer or by its revoked permit."""

    call_id: CallId
    tool: str


class ToolCallCancelled(FromWorker, tag="tool_call_cancelled", frozen=True, kw_only=True):
    """The call surely does not take effect any more. An approval that it still waited for is withdrawn."""

    call_id: CallId
    tool: str
    approval_id: str | None = None


class ChildRequested(FromWorker, tag="child_requested", frozen=True, kw_only=True):
    call_id: CallId
    child_agent: str
    child_run_id: RunId
    input: Raw | UnsetType = UNSET
    input_ref: BlobRef | UnsetType = UNSET
    budget: Budget | None = None
    deadline_at: float | None = None
    lease: Lease | None = None
    unfunded: bool = False
    because: CallId | None = None


class ChildCompleted(Data, tag="child_completed", frozen=True, kw_only=True):
    call_id: CallId
    child_run_id: RunId
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    taint: tuple[str, ...] = ()
    usage: Usage | None = None
    """What the child and its children used; None if it did not say: its lease counts then."""
    recalled: Recalled | None = None


class ChildFailed(Data, tag="child_failed", frozen=True, kw_only=True):
    """`status` tells `failed` from `cancelled`."""

    call_id: CallId
    child_run_id: RunId
    status: RunStatus
    error: Failure
    taint: tuple[str, ...] = ()
    usage: Usage | None = None
    recalled: Recalled | None = None


class ChildCancelRequested(FromWorker, tag="child_cancel_requested", frozen=True, kw_only=True):
    call_id: CallId
    child_run_id: RunId


class TimerStarted(FromWorker, tag="timer_started", frozen=True, kw_only=True):
    call_id: CallId
    fire_at: NonNegative


class TimerFired(Data, tag="timer_fired", frozen=True, kw_only=True):
    call_id: CallId
    recalled: Recalled | None = None


class TimerCancelled(FromWorker, tag="timer_cancelled", frozen=True, kw_only=True):
    call_id: CallId


class SignalAwaited(FromWorker, tag="signal_awaited", frozen=True, kw_only=True):
    call_id: CallId
    name: str


class SignalWaitCancelled(FromWorker, tag="signal_wait_cancelled", frozen=True, kw_only=True):
    call_id: CallId


class SignalReceived(Data, tag="signal_received", frozen=True, kw_only=True):
    name: str
    payload: Raw | UnsetType = UNSET
    payload_ref: BlobRef | UnsetType = UNSET
    by: str = ""
    recalled: Recalled | None = None


class StateChanged(FromWorker, tag="state_changed", frozen=True, kw_only=True):
    value: Raw


class CheckpointSaved(FromWorker, tag="checkpoint_saved", frozen=True, kw_only=True):
    """A graph's state between two of its steps: what changed against `parent`. See `commands.SaveCheckpoint`."""

    checkpoint: str
    namespace: str = ""
    parent: str = ""
    number: int = 0
    source: str = ""
    state: Raw | UnsetType = UNSET
    state_ref: BlobRef | UnsetType = UNSET


class WritesSaved(FromWorker, tag="writes_saved", frozen=True, kw_only=True):
    """What one task of a graph has written since `checkpoint`. See `commands.SaveWrites`."""

    checkpoint: str
    namespace: str = ""
    task: str
    writes: Raw | UnsetType = UNSET
    writes_ref: BlobRef | UnsetType = UNSET


class ApprovalRequested(Data, tag="approval_requested", frozen=True, kw_only=True):
    """Bound to the call and the digest of its exact arguments. `rule` and `policy_version` name the policy that asked, if one did.

    `separate`: who started the run may not approve. `replaces`: the approval that was escalated, edited or overtaken by a policy.
    """

    approval_id: str
    call_id: CallId
    tool: str
    args_digest: str
    role: str
    expires_at: float
    reason: str = ""
    quorum: Count = 1
    rule: str = ""
    policy_version: str = ""
    separate: bool = True
    escalate_to: str = ""
    escalate_seconds: float | None = None
    replaces: str = ""
    terms: str = ""


class ApprovalGiven(Data, tag="approval_given", frozen=True, kw_only=True):
    """One of the people that the quorum needs has approved; `approval_granted` follows with the last of them.

    `via`, here and in the decisions below: the service that authenticated `by` (by OIDC) and signed on their behalf; "" for who signed.
    """

    approval_id: str
    call_id: CallId
    by: str
    reason: str = ""
    given: Count = 1
    quorum: Count = 1
    via: str = ""


class ApprovalEdited(Data, tag="approval_edited", frozen=True, kw_only=True):
    """Somebody who may approve has changed the arguments. The approval ends; `replaced_by` is bound to the new digest."""

    approval_id: str
    replaced_by: str
    call_id: CallId
    tool: str
    by: str
    reason: str = ""
    previous_digest: str
    args: Raw
    args_digest: str
    via: str = ""


class ApprovalEscalated(Data, tag="approval_escalated", frozen=True, kw_only=True):
    """Nobody decided in time: people of another role are asked, under `replaced_by`."""

    approval_id: str
    replaced_by: str
    call_id: CallId
    role: str
    expires_at: float


class ApprovalGranted(Data, tag="approval_granted", frozen=True, kw_only=True):
    """The call may run, once, with exactly these arguments. `given_by`: everyone of a quorum of several."""

    approval_id: str
    call_id: CallId
    by: str
    reason: str = ""
    given_by: list[str] = []
    via: str = ""


class ApprovalDenied(Data, tag="approval_denied", frozen=True, kw_only=True):
    approval_id: str
    call_id: CallId
    by: str
    reason: str = ""
    via: str = ""


class ApprovalExpired(Data, tag="approval_expired", frozen=True, kw_only=True):
    approval_id: str
    call_id: CallId


class QuestionAsked(FromWorker, tag="question_asked", frozen=True, kw_only=True):
    """The agent's code asks a person with `role`; `answer_schema` is the JSON Schema of what it takes."""

    call_id: CallId
    question_id: str
    role: str
    question: str
    expires_at: float
    answer_schema: Raw | UnsetType = UNSET


class QuestionAnswered(Data, tag="question_answered", frozen=True, kw_only=True):
    call_id: CallId
    question_id: str
    by: str
    answer: Raw | UnsetType = UNSET
    reason: str = ""
    recalled: Recalled | None = None
    via: str = ""


class QuestionUnanswered(Data, tag="question_unanswered", frozen=True, kw_only=True):
    """Nobody answered in time, or somebody declined to (`by`); the code gets this error."""

    call_id: CallId
    question_id: str
    error: Failure
    by: str = ""
    recalled: Recalled | None = None


class QuestionWithdrawn(FromWorker, tag="question_withdrawn", frozen=True, kw_only=True):
    """The code no longer waits for the answer, or the run has ended."""

    call_id: CallId
    question_id: str


class BreakerTripped(Data, tag="breaker_tripped", frozen=True, kw_only=True):
    """A limit was reached; a `run_paused` follows in the same commit."""

    limit: Literal["max_steps", "max_tokens", "max_cost_usd", "max_seconds", "max_repeats", "divergence", "loop"]
    value: float
    maximum: float
    message: str


class RunPaused(Data, tag="run_paused", frozen=True, kw_only=True):
    reason: str
    by: str = ""


class RunResumed(Data, tag="run_resumed", frozen=True, kw_only=True):
    by: str = ""
    budget: Budget | None = None
    """The limits that are new, already added up where an extra amount was given."""


class RunEnding(FromWorker, tag="run_ending", frozen=True, kw_only=True):
    """The run is to end as `outcome`, but a started call or a child that cannot be dropped is still awaited.

    Nothing new takes effect after this; the terminal event follows when the last of them is settled.
    """

    outcome: Literal["completed", "failed", "cancelled"]
    reason: str = ""
    by: str = ""
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    error: Failure | None = None


class RunCompleted(FromWorker, tag="run_completed", frozen=True, kw_only=True):
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET


class RunFailed(FromWorker, tag="run_failed", frozen=True, kw_only=True):
    error: Failure


class RunCancelled(Data, tag="run_cancelled", frozen=True, kw_only=True):
    reason: str = ""
    by: str = ""


class CallFunded(Data, tag="call_funded", frozen=True, kw_only=True):
    """What was asked for and did not fit now does: it is sent. `lease` is what a child starts with."""

    call_id: CallId
    lease: Lease | None = None


class LeaseAsked(Data, tag="lease_asked", frozen=True, kw_only=True):
    """The run's lease does not hold what it needs next: its parent is asked for `need` more. `number` counts the questions."""

    need: Usage
    number: Count


class LeaseReceived(Data, tag="lease_received", frozen=True, kw_only=True):
    """The parent gave more: `lease` is the total ever given."""

    lease: Lease


class LeaseReturned(Data, tag="lease_returned", frozen=True, kw_only=True):
    """The parent asked for what is not needed: `returned` is the total ever given back, `number` the parent's question."""

    returned: Usage
    number: Count
    asked: Count | None = None
    """The number of our own last question to the parent, which this makes void. None: of an older version, which kept to it."""


class LeaseWanted(Data, tag="lease_wanted", frozen=True, kw_only=True):
    """A child asks for more than is left here: it waits until there is. `spent` is what it has used so far."""

    call_id: CallId
    child_run_id: RunId
    need: Usage
    spent: Usage
    number: Count


class LeaseGranted(Data, tag="lease_granted", frozen=True, kw_only=True):
    """A child gets more: `lease` is the total ever given to it. With `number` it answers that question."""

    call_id: CallId
    child_run_id: RunId
    lease: Lease
    spent: Usage | None = None
    number: Count = 0


class LeaseRecalled(Data, tag="lease_recalled", frozen=True, kw_only=True):
    """Children are asked for what they do not need. `answering` is the question of our own parent that is answered after them, or 0."""

    call_ids: list[CallId]
    number: Count
    answering: Count = 0


class LeaseTakenBack(Data, tag="lease_taken_back", frozen=True, kw_only=True):
    """A child gave back what it did not need: `returned` is the total ever given back."""

    call_id: CallId
    child_run_id: RunId
    returned: Usage
    spent: Usage
    number: Count
    asked: Count | None = None
    """The child's questions up to this number are void: it asks anew for all that it needs. None: not said."""


class LimitWarning(Data, tag="limit_warning", frozen=True, kw_only=True):
    """A limit is near, for the first time since it was set."""

    limit: Literal["max_steps", "max_tokens", "max_cost_usd", "max_seconds"]
    value: float
    maximum: float


class DeadlineNear(Data, tag="deadline_near", frozen=True, kw_only=True):
    """Most of the time until the deadline has passed."""

    deadline_at: float


class LoopDetected(Data, tag="loop_detected", frozen=True, kw_only=True):
    """The run goes in circles: what repeats, in words, and the seqs of the events that say so. `run_paused` follows."""

    kind: Literal["same_call", "cycle", "no_progress", "similar_outputs"]
    message: str
    seqs: list[Count]
    times: Count


class NoticeEscalated(Data, tag="notice_escalated", frozen=True, kw_only=True):
    """Nobody acted on what supervisors were told: the next level of the ladder is told. `call_id` for a call in doubt."""

    why: Literal["paused", "in_doubt"]
    level: Count
    to: str = ""
    call_id: CallId | None = None


class InstructionAdded(Data, tag="instruction_added", frozen=True, kw_only=True):
    """Somebody tells the agent what to do differently; its code is given this."""

    text: str
    by: str = ""
    recalled: Recalled | None = None


AnyData = (
    RunStarted
    | RunForked
    | ForkToolsChanged
    | StepRecalled
    | RunAdvanced
    | StepCompleted
    | StepFailed
    | StepRequested
    | ToolCallRequested
    | ToolCallDispatched
    | ToolAttemptFailed
    | ToolCallDeferred
    | ToolCallCompleted
    | ToolCallFailed
    | ToolCallInDoubt
    | ToolCallCancelRequested
    | ToolCallCancelled
    | ChildRequested
    | ChildCompleted
    | ChildFailed
    | ChildCancelRequested
    | TimerStarted
    | TimerFired
    | TimerCancelled
    | SignalAwaited
    | SignalWaitCancelled
    | SignalReceived
    | StateChanged
    | CheckpointSaved
    | WritesSaved
    | ApprovalRequested
    | ApprovalGiven
    | ApprovalEdited
    | ApprovalEscalated
    | ApprovalGranted
    | ApprovalDenied
    | ApprovalExpired
    | QuestionAsked
    | QuestionAnswered
    | QuestionUnanswered
    | QuestionWithdrawn
    | BreakerTripped
    | RunPaused
    | RunResumed
    | RunEnding
    | RunCompleted
    | RunFailed
    | RunCancelled
    | CallFunded
    | LeaseAsked
    | LeaseReceived
    | LeaseReturned
    | LeaseWanted
    | LeaseGranted
    | LeaseRecalled
    | LeaseTakenBack
    | LimitWarning
    | DeadlineNear
    | LoopDetected
    | NoticeEscalated
    | InstructionAdded
)

OUTSIDE = frozenset(
    {
        "run_started",
        "tool_call_completed",
        "tool_call_failed",
        "child_completed",
        "child_failed",
        "timer_fired",
        "signal_received",
        "question_answered",
        "question_unanswered",
        "instruction_added",
        "run_forked",
        "fork_tools_changed",
        "step_recalled",
    }
)
"""Types of the events that an agent's code is given, in the order of their seq."""

TERMINAL_TYPES = frozenset({"run_completed", "run_failed", "run_cancelled"})
