"""Value types that several messages share. Pure data; JSON on the wire.

Times are RFC 3339 strings in UTC where people read them (`recorded_at`) and float Unix seconds elsewhere; a
name ends in its unit. `Raw` fields hold any JSON value, kept as the bytes that were sent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from waypost_proto.ids import CallId, RunId

NonNegative = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Dollars = Annotated[float, Meta(gt=0, le=9_000_000_000)]
"""A limit in US dollars: as much as `usage.micros_of` takes."""
Count = Annotated[int, Meta(ge=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]


class Value(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything on the wire: immutable, defaults left out, unknown fields ignored. (`kw_only` is not inherited: say it.)"""


class Effect(StrEnum):
    """What running a tool does to the world; it decides what may be repeated."""

    READ = "read"
    IDEMPOTENT = "idempotent"
    UNSAFE = "unsafe"


class RunStatus(StrEnum):
    """Where a run is; `completed`, `failed` and `cancelled` are terminal."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    WAITING_APPROVAL = "waiting_approval"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})


class BlobRef(Value, frozen=True, kw_only=True):
    """Claim check: the value is in `blobs` under its SHA-256, `size` bytes of JSON."""

    sha256: str
    size: Count


class Failure(Value, frozen=True, kw_only=True):
    """An error as data. `type` is a class name or one of Waypost's own (`ApprovalDenied`, `DeadlineExceeded`, …)."""

    type: str
    message: str
    details: Raw | UnsetType = UNSET


class Budget(Value, frozen=True, kw_only=True):
    """Limits of a run; what is not set is not limited. Exceeding one pauses the run, it does not end it."""

    max_steps: AtLeastOne | None = None
    max_tokens: AtLeastOne | None = None
    max_cost_usd: Positive | None = None
    max_seconds: Positive | None = None
    max_repeats: AtLeastOne | None = None

    def tightened_by(self, other: Budget | None) -> Budget:
        """Of each limit the smaller one; a limit that only one of them sets counts."""
        if other is None:
            return self
        pairs = ((f, getattr(self, f), getattr(other, f)) for f in self.__struct_fields__)
        return Budget(**{f: min(mine, theirs) if mine and theirs else mine or theirs for f, mine, theirs in pairs})

    def overridden_by(self, other: Budget | None) -> Budget:
        """Every limit that `other` sets replaces ours."""
        if other is None:
            return self
        pick = {f: getattr(other, f) or getattr(self, f) for f in self.__struct_fields__}
        return Budget(**pick)


class Backoff(Value, frozen=True, kw_only=True):
    """What of a `Retry` is different for one class of errors; what is None is as for all others."""

    max_attempts: AtLeastOne | None = None
    initial_seconds: Positive | None = None
    factor: Annotated[float, Meta(ge=1)] | None = None
    max_seconds: Positive | None = None


class Retry(Value, frozen=True, kw_only=True):
    """Exponential backoff with jitter: attempt n+1 waits `initial_seconds * factor**(n-1)`, at most `max_seconds`.

    `jitter` is the share of that delay which is random: 0.2 means between 80 % and 100 % of it. `only` and `never` name the classes of
    errors that are tried again, or not (their subclasses count too; `never` wins); `errors` says by class what is different.
    Attempts are counted over errors of all classes.
    """

    max_attempts: AtLeastOne = 5
    initial_seconds: Positive = 0.2
    factor: Annotated[float, Meta(ge=1)] = 2.0
    max_seconds: Positive = 60.0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    only: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    errors: dict[str, Backoff] = {}


class Rate(Value, frozen=True, kw_only=True):
    """At most `count` calls per `seconds`, all gateways together, and at most `burst` of them at once (default: `count`)."""

    count: AtLeastOne
    seconds: Positive = 1.0
    burst: AtLeastOne | None = None


class Breaker(Value, frozen=True, kw_only=True):
    """When calls to a tool are stopped: `failures` attempts within `window_seconds` that failed, and at least `share` of all that ended.

    It is open for `open_seconds`; then one call is let through, and what becomes of it closes the breaker or opens it again.
    Errors of the classes in `ignore` (and their subclasses) say nothing about the tool.
    """

    failures: AtLeastOne = 5
    window_seconds: Positive = 60.0
    open_seconds: Positive = 30.0
    share: Annotated[float, Meta(ge=0, le=1)] = 0.5
    ignore: tuple[str, ...] = ()


class BudgetLeft(Value, frozen=True, kw_only=True):
    """What a run may still use when a call is sent; None: not limited."""

    steps: Count | None = None
    tokens: Count | None = None
    cost_usd: NonNegative | None = None


class Approval(Value, frozen=True, kw_only=True):
    """What a call needs before it may run: `quorum` different people with `role`, within `expires_seconds`.

    Nobody decides in time: the call is denied, or (`escalate_to`) people of another role get `escalate_seconds` (None: as long again).
    """

    role: str
    expires_seconds: Positive = 48 * 3600.0
    reason: str = ""
    quorum: AtLeastOne = 1
    escalate_to: str = ""
    escalate_seconds: Positive | None = None


class Edit(Value, frozen=True, kw_only=True):
    """A person has changed the arguments of a call before approving it: the call ran with these.

    `args` are left out when they are larger than `limits.ARGS_IN_STATE_BYTES`; `args_digest` is always theirs.
    """

    by: str
    args_digest: str
    args: Raw | UnsetType = UNSET
    reason: str = ""


class Proof(Value, frozen=True, kw_only=True):
    """A signed request as it came: who signed is found by `key`, and what was signed is in `subject`, `at`, `body` and `behalf`."""

    key: str
    at: str
    signature: str
    subject: str
    body: Raw
    behalf: str = ""
    """On whose behalf, as the header has it (`signing.Behalf`); "" when the signer acts for itself."""


class Parent(Value, frozen=True, kw_only=True):
    """Who asked for a child run, and under which of its commands."""

    run_id: RunId
    agent: str
    call_id: CallId


class Token(Value, frozen=True, array_like=True):
    """An activation's token `[epoch, counter]`: the partition's lease epoch and a number never used twice in it."""

    epoch: int
    counter: int


class Mark(Value, frozen=True, kw_only=True):
    """What an accepted advance says of its worker: how far it has read, on which journal, and whether it still works."""

    digest: str
    seen: Count
    running: Count = 0
    worker: str = ""
    build: str = ""
