"""Requests and answers of `waypost.api.<noun>.<verb>`; the edge and the CLI speak the same. Unknown fields are refused.

Errors come as `Nats-Service-Error-Code` (an HTTP status number) and `Nats-Service-Error` headers with an `ApiError` body.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from waypost_proto.forks import ForkOrigin, ForkTools
from waypost_proto.limits import MAX_KEY_CHARS
from waypost_proto.notices import Action
from waypost_proto.registry import AgentDefinition, BreakerNews, ToolDefinition
from waypost_proto.task import Key, Label, TaskBudget
from waypost_proto.usage import Lease, Usage
from waypost_proto.values import BlobRef, Budget, Failure, Value

ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"
SHA256_HEADER = "Waypost-Sha256"
INDEX_HEADER = "Waypost-Index"
CHUNKS_HEADER = "Waypost-Chunks"
"""Headers of `payloads.put` (all three; its body is the chunk) and of the answer of `payloads.get` (`Waypost-Chunks`)."""


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of every request."""


class RunsStart(Request, frozen=True, kw_only=True):
    """`runs.start`: a task plus the agent; `input_ref` for what was uploaded with `payloads.put`."""

    agent: str
    input: Raw | UnsetType = UNSET
    input_ref: BlobRef | UnsetType = UNSET
    run_id: str | None = None
    idempotency_key: Key | None = None
    correlation_id: Key | None = None
    budget: TaskBudget | None = None
    deadline: str | None = None
    labels: dict[Label, Label] = {}


class RunRef(Request, frozen=True, kw_only=True):
    """`runs.get`, `runs.journal` (with `after`), `runs.events`."""

    run_id: str
    after: int = 0
    limit: int = 200


class RunsList(Request, frozen=True, kw_only=True):
    """`runs.list`: the runs that fit every filter that is set, newest first; `before` is the run id that the last page ended with.

    Times are RFC 3339, `from` inclusive and `to` exclusive; that of creation is the time in the run id (a child's is its parent's).
    """

    agent: str | None = None
    status: str | None = None
    """One, or several separated by commas."""
    labels: dict[Label, Label] = {}
    before: str | None = None
    limit: int = 50
    text: Annotated[str, Meta(min_length=1, max_length=MAX_KEY_CHARS)] | None = None
    """The beginning of a run id (four digits at least), of a correlation id that was given or of an idempotency key; or `label=value`."""
    parent: str | None = None
    created_from: str | None = None
    created_to: str | None = None
    updated_from: str | None = None
    updated_to: str | None = None
    needs_attention: bool = False
    """Only runs that wait for a person: paused, an approval or a question is open, or a call is in doubt."""


class RunCommand(Request, frozen=True, kw_only=True):
    """`runs.pause`, `runs.resume`, `runs.cancel`. The same `request_id` again changes nothing."""

    run_id: str
    request_id: str = ""
    reason: str = ""
    by: str = ""
    budget: TaskBudget | None = None
    """New values of limits; only for `runs.resume`, like the two below."""
    extra: TaskBudget | None = None
    """Amounts to add to limits that are set."""
    instruction: str = ""
    """What the agent is to do differently: its code is given this."""
    tools: ForkTools | None = None
    """Of a fork: how its calls are answered from here on."""


class RunFork(Request, frozen=True, kw_only=True):
    """`runs.fork`: a new run that begins with events 1 to `at` of run `run_id` and goes on by itself.

    `new_run_id`: the fork's id, chosen by the client; the same again returns the first fork. `input` (or `input_ref`) replaces the
    source's and goes with `at` 1. `budget` can only be tighter than the agent's; without one the source's limits hold.
    """

    run_id: str
    at: Annotated[int, Meta(ge=1)]
    tools: ForkTools = "recorded"
    input: Raw | UnsetType = UNSET
    input_ref: BlobRef | UnsetType = UNSET
    new_run_id: str | None = None
    budget: TaskBudget | None = None
    deadline: str | None = None
    labels: dict[Label, Label] = {}
    by: str = ""


class RunSignal(Request, frozen=True, kw_only=True):
    """`runs.signal`."""

    run_id: str
    name: Key
    payload: Raw | UnsetType = UNSET
    payload_ref: BlobRef | UnsetType = UNSET
    request_id: str = ""
    by: str = ""


class RunResolve(Request, frozen=True, kw_only=True):
    """`runs.resolve`: settle a call in doubt."""

    run_id: str
    call_id: str
    outcome: Literal["completed", "not_done", "failed"]
    result: Raw | UnsetType = UNSET
    reason: str = ""
    request_id: str = ""
    by: str = ""


class ApprovalsList(Request, frozen=True, kw_only=True):
    """`approvals.list`: open ones by default."""

    state: Literal["open", "all"] = "open"
    role: str | None = None
    run_id: str | None = None
    limit: int = 200


class ApprovalsDecide(Request, frozen=True, kw_only=True):
    """`approvals.decide`. `args` (a JSON object) goes with `approve`: the call then runs with these. `answer` goes with `answer`.

    `by` and `roles` count where nobody is authenticated; of an authenticated caller they may only repeat what is known.
    """

    approval_id: str
    decision: Literal["approve", "deny", "answer"]
    by: str = ""
    roles: list[str] = []
    reason: str = ""
    request_id: str = ""
    args: Raw | UnsetType = UNSET
    answer: Raw | UnsetType = UNSET


class NameList(Request, frozen=True, kw_only=True):
    """`agents.list`, `tools.list`."""

    queues: bool = False
    """Also what waits in their queues: a look at JetStream, at most a second old. Queues are not kept by tenant: they are told to those
    whom dead letters are told to."""


class DeadList(Request, frozen=True, kw_only=True):
    """`dead.list`."""

    after: int = 0
    limit: int = 100


class DeadRef(Request, frozen=True, kw_only=True):
    """`dead.redrive`, `dead.discard`, `dead.show`."""

    dead_id: int


class PayloadGet(Request, frozen=True, kw_only=True):
    """`payloads.get`: one chunk of a blob; the body of the answer is its bytes, headers say `Waypost-Chunks`."""

    sha256: str
    index: int = 0


class Redispatch(Request, frozen=True, kw_only=True):
    """`runs.redispatch`: derive outstanding work again, for one run or for all."""

    run_id: str | None = None


class CallView(Value, frozen=True, kw_only=True):
    """An open call of a run, for people."""

    call_id: str
    kind: str
    name: str
    state: str
    attempt: int = 0
    max_attempts: int = 0
    next_attempt_at: str | None = None
    error: Failure | None = None
    approval_id: str | None = None


class RunView(Value, frozen=True, kw_only=True):
    """A run as `runs.get` and `runs.list` show it."""

    run_id: str
    agent: str
    status: str
    tenant: str = "default"
    build: str = ""
    correlation_id: str = ""
    created_at: str = ""
    updated_at: str = ""
    deadline: str | None = None
    labels: dict[str, str] = {}
    steps: int = 0
    budget: Budget = Budget()
    usage: Usage | None = None
    """Used by the run and its children, as far as they have told."""
    reserved: Usage | None = None
    """Held for calls that are not settled, for children and for the worker."""
    left: Lease | None = None
    """What may still be used; None: nothing limits it."""
    last_seq: int = 0
    parent: str | None = None
    waiting_for: str = ""
    open_calls: list[CallView] = []
    state: Raw | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    error: Failure | None = None
    idempotency_key: str | None = None
    fork: ForkOrigin | None = None
    """It was forked from another run; `tools` is how its calls are answered now."""


class RunAnswer(Value, frozen=True, kw_only=True):
    """Of `runs.start` and every command: where the run is after the commit."""

    run_id: str
    status: str
    duplicate: bool = False


class RunPage(Value, frozen=True, kw_only=True):
    runs: list[RunView]
    next_before: str | None = None


class EventPage(Value, frozen=True, kw_only=True):
    """`events` are the stored bytes of each event, unchanged."""

    events: list[Raw]
    next_after: int | None = None


class ApprovalView(Value, frozen=True, kw_only=True):
    approval_id: str
    run_id: str
    agent: str
    call_id: str
    tool: str
    args: Raw | UnsetType = UNSET
    args_digest: str
    role: str
    state: str
    requested_at: str
    expires_at: str
    reason: str = ""
    decided_by: str = ""
    decided_at: str | None = None
    decision_reason: str = ""
    kind: Literal["approval", "question"] = "approval"
    quorum: int = 1
    given_by: list[str] = []
    """Who of the quorum has approved so far."""
    rule: str = ""
    policy_version: str = ""
    question: str = ""
    answer_schema: Raw | UnsetType = UNSET
    replaces: str = ""
    edited_by: str = ""
    starter: str = ""
    """Who started the run and may therefore not approve; "" when nobody knows."""


class ApprovalPage(Value, frozen=True, kw_only=True):
    approvals: list[ApprovalView]


class QueueView(Value, frozen=True, kw_only=True):
    """A queue: messages that nobody has taken yet (`pending`), and those that somebody has and has not finished (`unacked`).

    `name` is the build of an agent, whose activations go to whichever worker comes first; a worker, whose own queue is for all the agents
    that it hosts; or the tool.
    """

    kind: Literal["build", "worker", "tool"]
    name: str
    pending: int = 0
    unacked: int = 0


class AgentBuild(Value, frozen=True, kw_only=True):
    """A build of an agent that lives, and the workers that take its work."""

    build: str
    workers: list[str] = []


class AgentView(Value, frozen=True, kw_only=True):
    """`definition` is of the current build: the one that new runs get. `workers` host any build; `builds` are those that live."""

    definition: AgentDefinition
    workers: list[str] = []
    builds: list[AgentBuild] = []
    queues: list[QueueView] | None = None
    """Of every build for which something waits or somebody works, then of each worker. None: not asked for, or not known."""


class AgentPage(Value, frozen=True, kw_only=True):
    agents: list[AgentView]


class ToolView(Value, frozen=True, kw_only=True):
    """`breaker` is None while nobody has reported that it is not closed."""

    definition: ToolDefinition
    gateways: list[str] = []
    breaker: BreakerNews | None = None
    queue: QueueView | None = None
    """Its calls. None: not asked for, or not known."""


class ToolPage(Value, frozen=True, kw_only=True):
    tools: list[ToolView]


class DeadView(Value, frozen=True, kw_only=True):
    dead_id: int
    origin: str
    reason: str
    at: str
    size: int
    excerpt: str = ""
    run_id: str | None = None


class DeadPage(Value, frozen=True, kw_only=True):
    dead: list[DeadView]
    next_after: int | None = None


class DeadDetail(Value, frozen=True, kw_only=True):
    """`dead.show`: one dead letter with its original bytes (base64 in JSON) and headers."""

    view: DeadView
    subject: str
    headers: dict[str, str] = {}
    body: bytes = b""


class RedispatchAnswer(Value, frozen=True, kw_only=True):
    runs: int
    dispatches: int


class ApiError(Value, frozen=True, kw_only=True):
    """RFC 9457 members, so that the edge can pass it on."""

    status: int
    title: str
    detail: str
    actions: list[Action] = []
