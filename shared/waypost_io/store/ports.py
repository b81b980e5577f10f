"""What Waypost asks of its database. Two adapters keep this contract: `postgres` and `memory`; one conformance suite tests both.

Owns the contract only. Each facet names the tables behind it and who writes them. All times are Unix seconds by the database's clock
(`Leases.now`). Every method may raise `Unreachable`; an adapter retries nothing by itself, because whether a failed write took effect
is for its caller to find out by reading again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

from waypost_io.store.overview import Overview
from waypost_io.store.traces import Traces
from waypost_proto.api import DeadView
from waypost_proto.ids import CallId, RunId
from waypost_proto.registry import AgentDefinition, ToolDefinition

# -- leases (table partitions; writer: coordinator)


@dataclass(frozen=True, slots=True)
class Lease:
    """Ownership of a partition until `expires_at`, fenced by `epoch`, which rises with every change of owner."""

    partition: int
    epoch: int
    owner: str
    expires_at: float
    position: int
    """Position of the last event committed in this partition."""
    published: int
    """Events and dispatches up to this position are known to be in JetStream."""


class Leases(Protocol):
    async def now(self) -> float:
        """The database's clock, Unix seconds."""
        ...

    async def ensure_partitions(self, count: int) -> None:
        """Create the rows at first start, and the coming months' partitions of events. Raises `Misconfigured` when the database was set
        up with another count."""
        ...

    async def acquire(self, owner: str, *, at_most: int, lease_seconds: float) -> list[Lease]:
        """Take up to `at_most` partitions that are free or expired; each gets a new epoch. Renewing is `renew`."""
        ...

    async def renew(self, owner: str, epochs: Mapping[int, int], *, lease_seconds: float) -> list[Lease]:
        """Extend what is still ours (partition → epoch); what is missing in the answer is lost."""
        ...

    async def release(self, owner: str, epochs: Mapping[int, int]) -> None:
        """Give partitions back at once (drain). Idempotent."""
        ...

    async def owners(self) -> list[Lease]:
        """All partitions as they stand (for sharing out, `doctor`, and the audit logger's partition list)."""
        ...


# -- the log (tables events, runs, timers, approvals, tool_ledger, inbox, blobs, dead; writer: coordinator, in one transaction)


@dataclass(slots=True)  # not frozen, which costs more than the rest of it: there are three in a step
class EventRow:
    """One event: `body` is the exact published bytes; `cause` is "" or unique within the run."""

    run_id: RunId
    seq: int
    type: str
    partition: int
    position: int
    recorded_at: float
    body: bytes
    cause: str = ""


@dataclass(slots=True, kw_only=True)  # not frozen, which costs more than the rest of it: there are two in a step
class RunRow:
    """Read model and folded state of a run. `state` is opaque to the store."""

    run_id: RunId
    partition: int
    tenant: str
    agent: str
    build: str
    status: str
    open: bool
    """False once the run is terminal."""
    held: bool
    """It has work that cannot be dispatched until someone hosts the agent or tool."""
    worker: str
    """The worker that holds its coroutine, "" if none."""
    seq: int
    created_at: float
    updated_at: float
    deadline_at: float | None
    parent: RunId | None
    correlation_id: str
    idempotency_key: str | None
    labels: Mapping[str, str]
    state: bytes
    state_version: int
    outcome: bytes | None = None
    """JSON of the result or failure of a terminal run (`{"result":…}`, `{"result_ref":…}` or `{"error":…}`)."""


@dataclass(frozen=True, slots=True)
class TimerRow:
    """A timer of a run; (run_id, timer_id) is unique, a second write moves it."""

    run_id: RunId
    timer_id: str
    partition: int
    due_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PermitRow:
    """Permission for one attempt of one call.

    Writing it again makes a fresh permit of a row that is `revoked`, or that is `failed`, `doubt` or `permitted` under a smaller attempt.
    A `started` or `done` row is left as it is, unless `force` (a person resolved that it did not take effect).
    """

    run_id: RunId
    call_id: CallId
    tool: str
    attempt: int
    args_digest: str
    effect: str
    idempotency_key: str
    approval_id: str | None
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """An approval and its decision."""

    approval_id: str
    run_id: RunId
    agent: str
    call_id: CallId
    tool: str
    args: bytes
    args_digest: str
    role: str
    reason: str
    tenant: str
    requested_at: float
    expires_at: float
    state: Literal["open", "granted", "denied", "expired", "withdrawn", "used"] = "open"
    decided_by: str = ""
    decided_at: float | None = None
    decision_reason: str = ""
    policy_version: str = ""
    """The policy that asked for it, "" if the agent's code did. `Ledger.start` compares it."""
    details: bytes | None = None
    """JSON that the store does not read: quorum, who has approved so far, the question. None: leave what is stored."""


@dataclass(frozen=True, slots=True)
class InboxRow:
    """A message between runs, from the sender's commit until the receiver's (`body` is the mailbox message).

    Name the `sender` when adding one: a message of a run whose lease is lost must not leave, and only that one must not. A commit that
    lost a lease and adds a message without a sender writes nothing at all and reports every partition as lost. It is not kept.
    """

    message_id: str
    run_id: RunId
    """The receiver."""
    partition: int
    """The receiver's."""
    subject: str
    body: bytes
    sender: RunId | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A whole value; the adapter stores it in chunks of `limits.BLOB_CHUNK_BYTES`."""

    sha256: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """A supervisor notice, kept beside its publication on NATS."""

    notice_id: str
    run_id: RunId
    agent: str
    at: float
    body: bytes


@dataclass(slots=True, kw_only=True)
class Commit:
    """Everything that one group commit writes, for the runs of several partitions.

    `leases` holds (partition, epoch, last position of this commit, published position). Rows of a partition whose lease is lost are
    left out of the commit, all others are written: this is one transaction and one round trip. The position of an event is larger than
    any that its partition had before, and the stored position follows the events. Timers are cleared before others are set, permits
    are revoked before others are written. Where a row has no partition of its own, its run's row or event in the same commit tells it, or
    else the stored run.
    """

    owner: str
    leases: list[tuple[int, int, int, int]] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    runs: list[RunRow] = field(default_factory=list)
    set_timers: list[TimerRow] = field(default_factory=list)
    clear_timers: list[tuple[RunId, str]] = field(default_factory=list)
    permits: list[PermitRow] = field(default_factory=list)
    revoke_runs: list[RunId] = field(default_factory=list)
    """Revoke every permit of these runs that was not started."""
    revoke_calls: list[tuple[RunId, CallId]] = field(default_factory=list)
    approvals: list[ApprovalRow] = field(default_factory=list)
    """Inserted, or updated by approval_id (state, decision, details)."""
    inbox_add: list[InboxRow] = field(default_factory=list)
    inbox_remove: list[str] = field(default_factory=list)
    blobs: list[BlobRow] = field(default_factory=list)
    notices: list[NoticeRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Where a call stands in the ledger. `result` is the encoded `ToolMail` once it is settled.

    `args_digest` is there where the row was read for its own sake (`get`, `of_run`, a `start` that failed), "" elsewhere.
    """

    run_id: RunId
    call_id: CallId
    attempt: int
    state: Literal["permitted", "started", "done", "failed", "doubt", "revoked"]
    gateway: str = ""
    lease_until: float | None = None
    hard_deadline: float | None = None
    result: bytes | None = None
    args_digest: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CommitResult:
    """`lost`: partitions whose lease is gone and whose rows were not written. `revoked`: after `revoke_*`, every ledger row
    of those runs or calls that is unsettled or revoked."""

    lost: frozenset[int] = frozenset()
    revoked: tuple[LedgerState, ...] = ()


class Log(Protocol):
    async def commit(self, batch: Commit) -> CommitResult:
        """Write the batch. Raises `SequenceTaken` (an event number, cause or position is taken), `Unreachable` (it may have been
        committed), `BadMessage` (a value that the database cannot hold). After any of these nothing or everything was written.

        Commits are applied in the order in which this is called. A run row never replaces one with a larger `seq`."""
        ...

    async def load_runs(self, run_ids: Sequence[RunId]) -> dict[RunId, RunRow]: ...

    async def load_events(self, run_id: RunId, *, after: int = 0, limit: int = 1_000, types: Sequence[str] | None = None) -> list[EventRow]:
        """Events of a run with seq > `after`, in order."""
        ...

    async def cause_seen(self, run_id: RunId, cause: str) -> int | None:
        """The seq of the event with this cause."""
        ...

    async def events_after(self, partition: int, position: int, *, limit: int) -> list[EventRow]:
        """Events of a partition with a larger position, in order: what the audit logger reads and take-over publishes again."""
        ...

    async def open_runs(self, partition: int, *, after: str = "", limit: int = 500) -> list[RunRow]:
        """Runs that are not terminal, by run id (the sweep)."""
        ...

    async def held_runs(self, partitions: Sequence[int]) -> list[RunId]: ...

    async def runs_of_workers(self, partitions: Sequence[int], workers: Sequence[str]) -> list[RunId]:
        """Open runs whose coroutine is held by one of these workers."""
        ...

    async def sticky_workers(self, partitions: Sequence[int]) -> list[str]:
        """Distinct `worker` of open runs (a new owner checks who of them still lives)."""
        ...

    async def inbox(self, partition: int, *, after: str = "", limit: int = 500) -> list[InboxRow]: ...


class Timers(Protocol):
    async def due(self, partitions: Sequence[int], *, before: float, limit: int) -> list[TimerRow]:
        """The timers due before that time, soonest first."""
        ...


class Keys(Protocol):
    """Table idempotency (writer: coordinator)."""

    async def reserve(self, requests: Sequence[tuple[str, str, str, RunId, str]]) -> dict[tuple[str, str, str], tuple[RunId, str]]:
        """For each (tenant, agent, key, run_id, input digest): keep the first reservation, return it (run_id, digest).

        Rows are inserted in sorted order: unsorted ones deadlock two group commits.
        """
        ...


class Definitions(Protocol):
    """Table definitions (writer: coordinator)."""

    async def put(self, agents: Sequence[AgentDefinition], tools: Sequence[ToolDefinition]) -> None:
        """Insert or replace: agents by (name, build), tools by name. The last put build of an agent is its current one."""
        ...

    async def agents(self) -> list[AgentDefinition]:
        """Every build; per name the current one comes last."""
        ...

    async def tools(self) -> list[ToolDefinition]: ...


class Ledger(Protocol):
    """Table tool_ledger; the coordinator writes permits in `Log.commit`, the gateway moves them here."""

    async def start(  # noqa: PLR0913  # everything that must hold, in one statement
        self,
        run_id: RunId,
        call_id: CallId,
        *,
        attempt: int,
        args_digest: str,
        approval_id: str | None,
        gateway: str,
        lease_seconds: float,
        hard_seconds: float,
    ) -> tuple[bool, LedgerState | None]:
        """One statement: permitted → started, if attempt and digest fit and the approval (if the permit names one) is granted, of the same
        digest, unexpired and unused; it is then used. False with the row as it is otherwise, or None if there is none."""
        ...

    async def take_over(
        self,
        run_id: RunId,
        call_id: CallId,
        *,
        attempt: int,
        gateway: str,
        lease_seconds: float,
        hard_seconds: float,
    ) -> bool:
        """A `started` row of this attempt whose lease has run out gets a new owner, lease and hard deadline, in one statement.

        For calls that may run again under the same key (not for unsafe ones). False if it is in another state, or its lease is alive.
        """
        ...

    async def extend(self, run_id: RunId, call_id: CallId, *, gateway: str, lease_seconds: float) -> bool:
        """The lease of a `started` row that `gateway` owns ends `lease_seconds` from now (0 gives it back at once)."""
        ...

    async def settle(
        self,
        run_id: RunId,
        call_id: CallId,
        *,
        attempt: int,
        state: Literal["done", "failed", "doubt"],
        result: bytes,
        gateway: str | None = None,
    ) -> bool:
        """started or doubt → `state`, keeping the answer for a repeat. False if the row is in no such state, is of another attempt, or
        (with `gateway`) was last started or taken over by another gateway."""
        ...

    async def get(self, run_id: RunId, call_id: CallId) -> LedgerState | None: ...

    async def of_run(self, run_id: RunId) -> list[LedgerState]: ...


class Approvals(Protocol):
    """Table approvals, read side."""

    async def get(self, approval_id: str) -> ApprovalRow | None: ...
    async def list(
        self,
        *,
        state: Literal["open", "all"],
        role: str | None = None,
        run_id: str | None = None,
        limit: int = 200,
        tenant: str | None = None,
        agents: Sequence[str] | None = None,
    ) -> list[ApprovalRow]:
        """Oldest first when `open`, else newest first. `tenant`, `agents`: of these only."""
        ...


class Blobs(Protocol):
    """Table blobs, in chunks (writers: coordinator, gateway)."""

    async def put(self, data: bytes) -> str:
        """Store a whole value; returns its SHA-256. Idempotent."""
        ...

    async def put_chunk(self, sha256: str, index: int, chunks: int, data: bytes) -> None:
        """One chunk of an upload. Idempotent."""
        ...

    async def get(self, sha256: str) -> bytes:
        """The whole value, its digest checked. Raises `NotFound`."""
        ...

    async def get_chunk(self, sha256: str, index: int) -> tuple[bytes, int]:
        """The chunk and the number of chunks. Raises `NotFound`."""
        ...


class Dead(Protocol):
    """Table dead (writer: coordinator): what could not be processed, kept until someone decides."""

    async def add(
        self, *, origin: str, subject: str, reason: str, body: bytes, headers: Mapping[str, str], source: str, run_id: str | None
    ) -> int:
        """`source` (stream identity and sequence) is unique: adding the same message again returns the same id."""
        ...

    async def count_failure(self, source: str) -> int:
        """How often handling this message has failed, counted in the database so that a crash counts too."""
        ...

    async def list(self, *, after: int = 0, limit: int = 100) -> list[DeadView]: ...

    async def get(self, dead_id: int) -> tuple[DeadView, str, bytes, dict[str, str]]:
        """View, subject, body, headers. Raises `NotFound`."""
        ...

    async def remove(self, dead_id: int) -> None: ...


class Streams(Protocol):
    """Table streams (writer: coordinator): creation time and last sequence of each stream, to notice a wipe."""

    async def load(self) -> dict[str, tuple[str, int]]: ...
    async def save(self, marks: Mapping[str, tuple[str, int]]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """What `Reads.list` selects: runs that fit every filter that is set; newest first, `before` is exclusive.

    Times are Unix seconds, from inclusive, to exclusive; `created` is the time in the run id. `text` is the beginning of a run id (at least
    four digits), of a correlation id that was given or of an idempotency key, or a label, `key=value`. `attention`: paused, waiting for an
    approval, or with a call in doubt (one that was in doubt may still count).
    """

    tenant: str | None = None
    agent: str | None = None
    statuses: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    text: str | None = None
    created_from: float | None = None
    created_to: float | None = None
    updated_from: float | None = None
    updated_to: float | None = None
    attention: bool = False
    before: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class RunGlance:
    """How far a run is, and whose it is: what watching many of them takes."""

    run_id: RunId
    seq: int
    open: bool
    tenant: str
    agent: str
    status: str
    updated_at: float
    labels: Mapping[str, str]


class Reads(Protocol):
    async def get(self, run_id: RunId) -> RunRow | None: ...
    async def glance(self, run_ids: Sequence[RunId]) -> list[RunGlance]:
        """Those of the runs that there are, in no order; for some hundreds at once."""
        ...

    async def notices(self, run_id: RunId) -> list[NoticeRow]: ...
    async def list(self, query: RunFilter) -> list[RunRow]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditState:
    """The audit log as it is. `held`: `owner` has a lease that has not run out. Of a log that nobody has begun, `origin` is ""."""

    origin: str = ""
    owner: str = ""
    epoch: int = 0
    size: int = 0
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingSpan:
    """Events of a partition from `position` on, behind its cursor: their leaf hashes, one behind another.

    `behind` counts all that are committed and not in the log, these included. `gap` is the position found where the next was expected:
    what follows it is not in `leaves`.
    """

    partition: int
    position: int
    behind: int
    leaves: bytes
    recorded_from: float = 0.0
    recorded_to: float = 0.0
    gap: int | None = None

    @property
    def count(self) -> int:
        return len(self.leaves) // 32


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSpan:
    """Events of a partition from `position` on are the leaves from `index` on; `count` of both."""

    partition: int
    position: int
    index: int
    count: int
    recorded_from: float
    recorded_to: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRow:
    """A signed head: `note` is the signed text. `signed_at` in Unix seconds."""

    size: int
    key_id: str
    signed_at: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """The statement by which key number `number` (from 1) took over at `size`."""

    number: int
    key_id: str
    size: int
    added_at: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorRow:
    """The last head that an anchor has."""

    name: str
    size: int
    anchored_at: float
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DropRow:
    """A statement of what retention dropped, and the list of leaves that it has the digest of."""

    what: str
    dropped_at: float
    leaves: str
    note: str


class Audit(Protocol):
    """Tables audit_* (writer: audit logger). Leaves are numbered from 0 without a gap over all runs."""

    async def acquire(self, owner: str, *, origin: str, lease_seconds: float) -> AuditState | None:
        """Take or renew the right to append; None while somebody else has it. A new owner gets a new epoch. `origin` names a log that is
        begun by this; one that is there keeps its name."""
        ...

    async def release(self, owner: str, epoch: int) -> None: ...

    async def state(self) -> AuditState: ...

    async def pending(self, limit: int) -> list[PendingSpan]:
        """What is committed and not in the log, at most `limit` events of each partition that is behind, in order of partition."""
        ...

    async def append(self, state: AuditState, spans: Sequence[PendingSpan], nodes: Sequence[tuple[int, int, bytes]]) -> None:
        """Append the leaves of these spans in this order and move the cursors, in one transaction. `nodes`: (level, index, hash) to keep.

        Raises `ConcurrencyError`, with nothing written, when `state` has not the current owner, epoch and size; `ContractError` when
        a span does not begin right behind its cursor.
        """
        ...

    async def cursors(self) -> dict[int, int]:
        """Partition → position of the last event in the log."""
        ...

    async def lag(self) -> dict[int, int]:
        """Partition → events that are committed and not yet in the audit log."""
        ...

    async def hashes(self, level: int, low: int, high: int) -> bytes:
        """Kept hashes `[low, high)` of a level, one behind another; level 0 are the leaves. Ends before the first that is missing."""
        ...

    async def pieces(self, wanted: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """`hashes` of several (level, low, high) in one round trip, for a proof: some hundred hashes in all."""
        ...

    async def entries(self, low: int, high: int) -> list[tuple[int, EventRow]]:
        """The events whose leaves are `[low, high)`, by index. An event that is missing is left out; two for one leaf come twice."""
        ...

    async def entries_of_run(self, run_id: RunId, *, after: int = 0, limit: int = 1_000) -> list[tuple[int, EventRow]]:
        """(index, event) of a run, with a `seq` above `after`, in order."""
        ...

    async def find(self, run_id: RunId, seq: int) -> tuple[int, EventRow] | None:
        """The index of an event's leaf, and the event; None when there is no such event, or it is not in the log yet."""
        ...

    async def spans(self, low: int, high: int, *, limit: int = 10_000) -> list[AuditSpan]:
        """The spans that hold leaves `[low, high)`, in order."""
        ...

    async def spans_of(self, since: float, until: float, *, after: int = -1, limit: int = 1_000) -> list[AuditSpan]:
        """Spans behind leaf `after` with events recorded in [`since`, `until`), Unix seconds, in order of leaf."""
        ...

    async def strays(self, *, limit: int = 100) -> list[EventRow]:
        """Events that stand where no event can: before the first position of a partition, behind its last, or in none. Reads all keys."""
        ...

    async def add_head(self, head: HeadRow) -> None:
        """Idempotent by (size, key)."""
        ...

    async def heads(self, *, from_size: int = 0, limit: int = 1_000) -> list[HeadRow]:
        """Oldest first."""
        ...

    async def newest_head(self, *, at_most: int = 2**62) -> HeadRow | None:
        """The largest of at most this size."""
        ...

    async def add_key(self, key: KeyRow) -> None:
        """Raises `ConcurrencyError` when there is a key with this number."""
        ...

    async def keys(self) -> list[KeyRow]: ...

    async def anchored(self, anchor: AnchorRow) -> None:
        """Remember; never goes back to a smaller size."""
        ...

    async def anchors(self) -> list[AnchorRow]: ...

    async def drops(self) -> list[DropRow]:
        """What retention has dropped, oldest first (writer: `waypost prune`)."""
        ...


class Maintenance(Protocol):
    async def upkeep(self) -> list[str]:
        """Make the coming months' partitions of events and drop stale failure counts; the names of the new partitions.

        A coordinator calls it at start and once a day. Idempotent, safe to run concurrently.
        """
        ...


class Store(Protocol):
    """All facets over one pool. Use as an async context manager: entering connects (raises `Unreachable`)."""

    leases: Leases
    log: Log
    timers: Timers
    keys: Keys
    definitions: Definitions
    ledger: Ledger
    approvals: Approvals
    blobs: Blobs
    dead: Dead
    streams: Streams
    reads: Reads
    audit: Audit
    maintenance: Maintenance
    overview: Overview
    traces: Traces

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...
