"""What a worker's advance holds: commands (imperative) and results of local steps (past tense).

Every item carries `seen`, the seq of the highest outside event that the agent's code had been given when it was
issued: replay interleaves by that and not by the order of the log (CORRECTNESS.md row 5). `id` is the issuing
task's path and a counter within it, so it does not depend on the order of issue (row 18).
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Raw, UnsetType

from waypost_proto.ids import CallId
from waypost_proto.limits import MAX_KEY_CHARS, MAX_QUESTION_CHARS
from waypost_proto.models import ModelCall
from waypost_proto.usage import Usage
from waypost_proto.values import Approval, AtLeastOne, BlobRef, Budget, Count, Failure, NonNegative, Positive, Retry, Value

Name = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)]


class Item(Value, tag_field="type", frozen=True, kw_only=True):
    """Base of the union; never sent itself."""

    seen: Count


class CallTool(Item, tag="call_tool", frozen=True, kw_only=True):
    """Run a tool. `args` is a JSON object of its parameters by name. `because`: the model call that chose it."""

    id: CallId
    tool: Name
    args: Raw | UnsetType = UNSET
    args_ref: BlobRef | UnsetType = UNSET
    timeout_seconds: Positive | None = None
    retry: Retry | None = None
    approval: Approval | None = None
    reserve: Usage | None = None
    because: CallId | None = None


class StartChild(Item, tag="start_child", frozen=True, kw_only=True):
    """Start a child run of another agent. `because`: the model call that chose it."""

    id: CallId
    agent: Name
    input: Raw | UnsetType = UNSET
    input_ref: BlobRef | UnsetType = UNSET
    budget: Budget | None = None
    timeout_seconds: Positive | None = None
    because: CallId | None = None


class StartTimer(Item, tag="start_timer", frozen=True, kw_only=True):
    """Wake the run at `fire_at` (Unix seconds, on the run's own clock: the time of the last entry it was given)."""

    id: CallId
    fire_at: NonNegative


class AwaitSignal(Item, tag="await_signal", frozen=True, kw_only=True):
    """The code waits for a signal of this name. Signals are matched in the worker; this makes the wait visible."""

    id: CallId
    name: Name


class AskQuestion(Item, tag="ask_question", frozen=True, kw_only=True):
    """Ask a person with `role`. `answer_schema` is the JSON Schema of the answer: what does not fit it is not accepted."""

    id: CallId
    role: Name
    question: Annotated[str, Meta(min_length=1, max_length=MAX_QUESTION_CHARS)]
    expires_seconds: Positive
    answer_schema: Raw | UnsetType = UNSET


class RequestStep(Item, tag="request_step", frozen=True, kw_only=True):
    """A local step needs more allowance than the activation gave, or a reservation of its own: reserve before spending.

    `attempt` rises when a worker asks again for a step that another worker may have begun: what was reserved for that one counts as
    spent.
    """

    id: CallId
    name: Name
    reserve: Usage | None = None
    attempt: AtLeastOne = 1
    asked: str = ""
    """What it asks, as a digest: of its arguments (16 hex digits), or of a model's request (all of them); "" if that cannot be told."""
    model: bool = False
    """It asks a model, and does nothing else."""


class CancelCall(Item, tag="cancel_call", frozen=True, kw_only=True):
    """The code no longer waits for this call, child, timer or signal (a timeout, a cancelled task)."""

    target: CallId


class SetState(Item, tag="set_state", frozen=True, kw_only=True):
    """What `ctx.set_state` shows to people; the last one counts."""

    value: Raw


class FinishStep(Item, tag="finish_step", frozen=True, kw_only=True):
    """A local step ended: its recorded result or failure. `at` is the worker's clock, never before the run's clock."""

    id: CallId
    name: Name
    at: NonNegative
    duration_seconds: NonNegative = 0.0
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    error: Failure | None = None
    usage: Usage | None = None
    fingerprint: str = ""
    """Of what the step put out, for finding repetition; "" if it did not say."""
    model: ModelCall | None = None
    """The step asked a model."""
    asked: str = ""
    """16 hex digits of its arguments' digest; "" if they are not JSON, and of a model call."""


class SaveCheckpoint(Item, tag="save_checkpoint", frozen=True, kw_only=True):
    """A graph's state between two of its steps. No step of the run, and nothing that its code is told.

    `state` is what changed against `parent` (both of one `namespace`), in the form of the kind of agent that wrote it. `number` and
    `source` are the graph's own: which of its steps came before, and what made the checkpoint.
    """

    checkpoint: Name
    namespace: str = ""
    parent: str = ""
    number: int = 0
    source: str = ""
    state: Raw | UnsetType = UNSET
    state_ref: BlobRef | UnsetType = UNSET


class SaveWrites(Item, tag="save_writes", frozen=True, kw_only=True):
    """What one task of a graph has written since `checkpoint`, before the next one holds it; in the form of the kind of agent."""

    checkpoint: Name
    namespace: str = ""
    task: Name
    writes: Raw | UnsetType = UNSET
    writes_ref: BlobRef | UnsetType = UNSET


class CompleteRun(Item, tag="complete_run", frozen=True, kw_only=True):
    """The agent's code returned."""

    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET


class FailRun(Item, tag="fail_run", frozen=True, kw_only=True):
    """The agent's code raised, or its input did not fit."""

    error: Failure


class ReportDivergence(Item, tag="report_divergence", frozen=True, kw_only=True):
    """Replay asked for something else than the journal holds; the run must pause, nothing else is changed."""

    expected: str
    found: str


AnyItem = (
    CallTool
    | StartChild
    | StartTimer
    | AwaitSignal
    | AskQuestion
    | RequestStep
    | CancelCall
    | SetState
    | FinishStep
    | SaveCheckpoint
    | SaveWrites
    | CompleteRun
    | FailRun
    | ReportDivergence
)
