"""What to do about a call whose ledger row cannot simply be started. Pure: rows and the database's time in, a decision out.

Owns the reading of a row's state; the statements that move rows are the store's, and each of them checks again what was decided here, so
that two gateways which decide the same thing at the same time cannot both do it.

`may_repeat` is true for calls that may run again under the same key (idempotent ones, and reads that needed an approval).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from waypost_io.store.ports import LedgerState
from waypost_proto.values import Failure


@dataclass(frozen=True, slots=True)
class Ignore:
    """Ack and say nothing: the permit was revoked, or a later attempt has replaced this one. Whoever did it owes the next message."""

    why: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Leave the message unacked; it comes again after the ack wait. Somebody may be working on the call."""

    why: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """It is settled: send the stored answer again."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Its gateway is gone and the call may run again: `Ledger.take_over` of this attempt, then execute."""

    attempt: int


@dataclass(frozen=True, slots=True)
class DeclareDoubt:
    """Its gateway is gone and nobody can know what it did: settle this attempt as in doubt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StillInDoubt:
    """It is in doubt already: say so again."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """There is no permit that fits."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Ask:
    """Enough time has passed: ask the reconcile hook about this attempt."""

    attempt: int


@dataclass(frozen=True, slots=True)
class CannotTell:
    """The ledger holds nothing that could be reconciled."""

    failure: Failure


Refusal = Ignore | Wait | Repeat | TakeOver | DeclareDoubt | StillInDoubt | Refuse
Settling = Ignore | Wait | Repeat | Ask | CannotTell


def after_refusal(  # noqa: PLR0911 - a state each
    row: LedgerState | None, *, attempt: int, may_repeat: bool, now: float, args_digest: str = ""
) -> Refusal:
    """`Ledger.start` said no for `attempt`; `row` is what it found, `now` the database's time in Unix seconds.

    A row of other arguments than `args_digest` is no answer to this call, whatever its state: the key was used for something else.
    """
    if row is None:
        return Refuse(Failure(type="PermitMissing", message="the call has no permit in the ledger; it was not started"))
    if row.attempt > attempt:
        return Ignore(f"attempt {row.attempt} has replaced attempt {attempt}")
    if row.state != "revoked" and row.args_digest and args_digest and row.args_digest != args_digest:
        return Refuse(
            Failure(
                type="KeyReused",
                message=f"the ledger has other arguments under this call's key (digest {row.args_digest[:16]}…, {row.state}), these have "
                f"{args_digest[:16]}…; it was not started",
            )
        )
    match row.state:
        case "revoked":
            return Ignore("the permit was revoked")
        case "started":
            return _of_started(row, may_repeat=may_repeat, now=now)
        case "doubt":
            return StillInDoubt()
        case "done" if row.result is not None:
            return Repeat(row.result)
        case "failed" if row.result is not None and row.attempt == attempt:
            return Repeat(row.result)
        case "done" | "failed" | "permitted":
            if row.attempt < attempt:
                return Refuse(
                    Failure(
                        type="PermitMissing", message=f"the ledger permits attempt {row.attempt}, not attempt {attempt}; it was not started"
                    )
                )
            return Refuse(
                Failure(
                    type="PermitInvalid",
                    message="the arguments or the approval are not those that were permitted; the call was not started",
                )
            )
    assert_never(row.state)


def _of_started(row: LedgerState, *, may_repeat: bool, now: float) -> Wait | TakeOver | DeclareDoubt:
    """A lapsed lease is enough to run an idempotent call again: its key makes an overlap harmless. An unsafe one is judged only once its
    hard deadline has passed too: until then its gateway, if it lives, may still be sending."""
    if row.lease_until is not None and now < row.lease_until:
        return Wait("another gateway holds a live lease")
    if may_repeat:
        return TakeOver(row.attempt)
    if row.hard_deadline is not None and now < row.hard_deadline:
        return Wait("its hard deadline has not passed")
    return DeclareDoubt(row.attempt)


def quiet_at(row: LedgerState, *, settle_seconds: float) -> float:
    """From when on nothing of a started call can still be under way: lease, hard deadline and settle time are over. Unix seconds."""
    return max(row.lease_until or 0.0, row.hard_deadline or 0.0) + settle_seconds


def before_reconcile(row: LedgerState | None, *, attempt: int, settle_seconds: float, now: float) -> Settling:
    """Whether the hook may be asked about `attempt` at the database's time `now` (Unix seconds)."""
    if row is None:
        return CannotTell(Failure(type="PermitMissing", message="the ledger has no row for this call"))
    if row.attempt > attempt:
        return Ignore(f"attempt {row.attempt} has replaced attempt {attempt}")
    match row.state:
        case "started" | "doubt":
            if now < quiet_at(row, settle_seconds=settle_seconds):
                return Wait("lease, hard deadline or settle time are not over")
            return Ask(row.attempt)
        case "done" | "failed" if row.result is not None:
            return Repeat(row.result)
        case "done" | "failed" | "permitted" | "revoked":
            return CannotTell(Failure(type="NotInDoubt", message=f"the ledger row is {row.state!r}: there is nothing to reconcile"))
    assert_never(row.state)
