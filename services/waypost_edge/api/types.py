"""What only HTTP says: errors, and requests and answers that have no `waypost.api.*` behind them."""

from __future__ import annotations

from msgspec import Struct

from waypost_proto.api import Request
from waypost_proto.task import Label


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, as RFC 9457 has it: `detail` says what was wrong, with which value, and what to do about it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = ""


class NothingAsked(Request, frozen=True, kw_only=True):
    """A request without parameters."""


class EventsAsked(Request, frozen=True, kw_only=True):
    """Events of a run behind `after`, or behind the header `Last-Event-ID` for a stream; `tokens` shows in it what models write, too."""

    run_id: str
    after: int = 0
    limit: int = 200
    tokens: bool = False


class ChangesAsked(Request, frozen=True, kw_only=True):
    """Changes of runs of these agents, that now have one of these statuses, with these labels; of all, where none are named."""

    agent: list[str] = []
    status: list[str] = []
    labels: dict[Label, Label] = {}


class RunChange(Struct, frozen=True, kw_only=True):
    """A run that has changed: its status now, and its last event so far. `type` is of an event that told of it."""

    run_id: str
    agent: str
    tenant: str
    status: str
    seq: int
    type: str
    updated_at: str
    labels: dict[str, str] = {}


class PayloadAsked(Request, frozen=True, kw_only=True):
    """A large value by the digest that a reference to it (`result_ref`, `input_ref`, …) names."""

    sha256: str


class HeadsAsked(Request, frozen=True, kw_only=True):
    """Signed heads of the audit log of more than `after` leaves, oldest first."""

    after: int = 0
    limit: int = 20


class ProofOfEventAsked(Request, frozen=True, kw_only=True):
    """Event `seq` of `run_id`, against the signed head of `size` leaves; against the newest if it is not given."""

    run_id: str
    seq: int
    size: int | None = None


class ProofOfGrowthAsked(Request, frozen=True, kw_only=True):
    """The log of `old` leaves is the beginning of that of `new` leaves, both signed heads; the newest if `new` is not given."""

    old: int
    new: int | None = None


class AuditHead(Struct, frozen=True, kw_only=True):
    """A signed head: `note` is the signed text, as `waypost audit verify --heads` reads it."""

    size: int
    key_id: str
    signed_at: str
    note: str


class AuditStatus(Struct, frozen=True, kw_only=True):
    """The audit log as it is: its name, its leaves, the logger that is active ("": none), and its newest signed head."""

    origin: str
    leaves: int
    logger: str = ""
    head: AuditHead | None = None


class AuditHeads(Struct, frozen=True, kw_only=True):
    """A page of heads."""

    heads: list[AuditHead]
    next_after: int | None = None


class AuditKey(Struct, frozen=True, kw_only=True):
    """A key of the log: `statement` is the signed text by which it took over at `from_size` leaves."""

    number: int
    key_id: str
    from_size: int
    added_at: str
    statement: str


class AuditKeys(Struct, frozen=True, kw_only=True):
    """The keys of the log, the one in use last."""

    keys: list[AuditKey]
