"""The ledger as the gateway uses it: obtain the right to execute, write down what came of it. Owns the sequence of statements.

Every statement may fail with its outcome unknown. `start` is made safe to repeat by an owner name that is never used twice: a row found
`started` under the name of this very execution was started by its own first try. `settle` is safe to repeat because the answer it
wrote can be recognised.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from typing import Literal, assert_never

import structlog

from waypost_gateway.about import about
from waypost_gateway.answers import Answers, encoded
from waypost_gateway.inflight import Permit
from waypost_gateway.ledger_rules import (
    DeclareDoubt,
    Ignore,
    Refuse,
    Repeat,
    StillInDoubt,
    TakeOver,
    Wait,
    after_refusal,
    quiet_at,
)
from waypost_gateway.metrics import Metrics
from waypost_gateway.outcomes import Answered, Ignored, Left, Outcome
from waypost_gateway.retrying import until_reached
from waypost_io import faults
from waypost_io.store.ports import LedgerState, Store
from waypost_proto.codec import decode_union
from waypost_proto.mailbox import AnyToolMail, ToolUncertain
from waypost_proto.tools import ToolCall
from waypost_proto.values import Failure

GATEWAY_LOST = Failure(type="GatewayLost", message="the gateway that ran the call is gone; nobody knows whether the call took effect")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerTimes:
    """How long things hold. `grace_seconds`: what a call may take beyond its timeout to end and to be written down."""

    lease_seconds: float
    grace_seconds: float
    settle_seconds: float


class Permits:
    """Moves ledger rows for one gateway."""

    def __init__(self, store: Store, answers: Answers, metrics: Metrics, times: LedgerTimes, *, gateway: str) -> None:
        self._store = store
        self._answers = answers
        self._metrics = metrics
        self._times = times
        self._gateway = gateway
        self._numbers = itertools.count(1)

    async def obtain(
        self, call: ToolCall, *, timeout_seconds: float, may_repeat: bool, settle_seconds: float | None = None
    ) -> Permit | Outcome:
        """The right to execute `call` now, or what to do instead. Waits while the database does not answer.

        `settle_seconds`: the tool's own, None: the gateway's.
        """
        hard_seconds = timeout_seconds + self._times.grace_seconds
        lease_seconds = min(self._times.lease_seconds, hard_seconds)
        owner = self._new_owner()

        async def start() -> tuple[bool, LedgerState | None]:
            return await self._store.ledger.start(
                call.run_id,
                call.call_id,
                attempt=call.attempt,
                args_digest=call.args_digest,
                approval_id=call.approval_id,
                gateway=owner,
                lease_seconds=lease_seconds,
                hard_seconds=hard_seconds,
            )

        faults.point("gateway.start.before")
        started, row = await until_reached(start, what="start a call in the ledger")
        if not started and row is not None and row.state == "permitted" and row.attempt == call.attempt:
            # revoked when we asked, permitted again when we looked (a pause and its resume): the statement alone can say what does not fit
            started, row = await until_reached(start, what="start a call in the ledger")
        faults.point("gateway.start.after")
        if started or (row is not None and row.state == "started" and row.gateway == owner):
            return _permit(owner, call.attempt, hard_seconds)
        return await self._refused(call, row, hard_seconds=hard_seconds, may_repeat=may_repeat, settle=self._settle(settle_seconds))

    async def known(self, call: ToolCall, *, settle_seconds: float | None = None) -> Outcome | None:
        """What the ledger says of a call that cannot be executed (any more); None if it was never started, so that it may be refused."""
        row = await until_reached(lambda: self._store.ledger.get(call.run_id, call.call_id), what="read the ledger")
        if row is None or row.state == "permitted":
            return None
        outcome = await self._refused(call, row, hard_seconds=0.0, may_repeat=False, settle=self._settle(settle_seconds))
        assert not isinstance(outcome, Permit), "nothing is taken over that may not be repeated"
        return outcome

    async def settle(self, call: ToolCall, permit: Permit, state: Literal["done", "failed", "doubt"], answer: bytes) -> bytes | None:
        """Write `answer` down as the owner of the row; it may be published then. None: it may not, somebody else has the row.

        Waits while the database does not answer. What another gateway or person has settled meanwhile is published instead of ours.
        """
        return await self.settle_attempt(call, permit.attempt, state, answer, owner=permit.owner)

    async def settle_attempt(
        self, call: ToolCall, attempt: int, state: Literal["done", "failed", "doubt"], answer: bytes, *, owner: str | None = None
    ) -> bytes | None:
        """The same for a row that this gateway did not start (`owner` None)."""

        async def settle() -> bool:
            return await self._store.ledger.settle(call.run_id, call.call_id, attempt=attempt, state=state, result=answer, gateway=owner)

        faults.point("gateway.settle.before")
        settled = await until_reached(settle, what="settle a call in the ledger")
        faults.point("gateway.settle.after")
        if settled:
            return answer
        row = await until_reached(lambda: self._store.ledger.get(call.run_id, call.call_id), what="read the ledger")
        if row is not None and row.attempt == attempt and row.state in ("done", "failed") and row.result is not None:
            # ours, after a statement whose outcome was unknown; or what somebody else settled first
            return answer if row.result == answer else encoded(self._answers.repeated(call, row.result))
        _log.warning("the ledger row has moved on, the answer is dropped", **about(call), attempt=attempt)
        self._metrics.ledger("settle_lost")
        return None

    def settle_seconds(self, permit: Permit, of_tool: float | None = None) -> float:
        """From now until a call that this gateway leaves in doubt may be reconciled."""
        return max(0.0, permit.hard_until - asyncio.get_running_loop().time()) + self._settle(of_tool)

    def _settle(self, of_tool: float | None) -> float:
        return self._times.settle_seconds if of_tool is None else of_tool

    async def _refused(
        self, call: ToolCall, row: LedgerState | None, *, hard_seconds: float, may_repeat: bool, settle: float
    ) -> Permit | Outcome:
        now = await until_reached(self._store.leases.now, what="read the database's clock")
        rule = after_refusal(row, attempt=call.attempt, may_repeat=may_repeat, now=now, args_digest=call.args_digest)
        self._metrics.ledger(type(rule).__name__)
        match rule:
            case Ignore(why):
                return Ignored(why)
            case Wait(why):
                return Left(why)
            case Repeat(stored):
                return Answered(encoded(self._answers.repeated(call, stored)), "repeated")
            case TakeOver(attempt):
                return await self._take_over(call, attempt, hard_seconds)
            case DeclareDoubt(attempt):
                answer = encoded(self._answers.uncertain(call, GATEWAY_LOST, settle_seconds=settle))
                settled = await self.settle_attempt(call, attempt, "doubt", answer)
                return Answered(settled, "uncertain") if settled is not None else Left("somebody else settled it")
            case StillInDoubt():
                assert row is not None
                wait = quiet_at(row, settle_seconds=settle) - now
                return Answered(encoded(self._answers.uncertain(call, _doubt_of(row), settle_seconds=wait)), "uncertain")
            case Refuse(failure):
                reason = await self._why_refused(call, row, failure, now)
                return Answered(encoded(self._answers.refused(call, reason)), "refused")
        assert_never(rule)

    async def _take_over(self, call: ToolCall, attempt: int, hard_seconds: float) -> Permit | Outcome:
        owner = self._new_owner()

        async def take_over() -> bool:
            return await self._store.ledger.take_over(
                call.run_id,
                call.call_id,
                attempt=attempt,
                gateway=owner,
                lease_seconds=min(self._times.lease_seconds, hard_seconds),
                hard_seconds=hard_seconds,
            )

        if await until_reached(take_over, what="take a call over in the ledger"):
            return _permit(owner, attempt, hard_seconds)
        row = await until_reached(lambda: self._store.ledger.get(call.run_id, call.call_id), what="read the ledger")
        if row is not None and row.state == "started" and row.gateway == owner:
            return _permit(owner, attempt, hard_seconds)
        return Left("another gateway took it over")

    async def _why_refused(self, call: ToolCall, row: LedgerState | None, failure: Failure, now: float) -> Failure:
        """Name the approval where that is what does not fit; people act on this message."""
        if failure.type != "PermitInvalid" or call.approval_id is None or row is None:
            return failure
        approval_id = call.approval_id
        approval = await until_reached(lambda: self._store.approvals.get(approval_id), what="read an approval")
        if approval is None:
            return Failure(type="ApprovalInvalid", message=f"there is no approval {approval_id}; the call was not started")
        if approval.args_digest != call.args_digest:
            reason = "was given for other arguments"
        elif approval.state != "granted":
            reason = f"is {approval.state}"
        elif approval.expires_at <= now:
            reason = "has expired"
        else:
            return failure
        return Failure(type="ApprovalInvalid", message=f"approval {approval_id} {reason}; the call was not started")

    def _new_owner(self) -> str:
        return f"{self._gateway}.{next(self._numbers)}"


def _permit(owner: str, attempt: int, hard_seconds: float) -> Permit:
    """Stamped after the statement: by our clock the row's hard deadline has passed when ours has."""
    return Permit(owner=owner, attempt=attempt, now=asyncio.get_running_loop().time(), hard_seconds=hard_seconds)


def _doubt_of(row: LedgerState) -> Failure:
    """Why the call is in doubt, as it was written down."""
    if row.result is not None:
        answer = decode_union(AnyToolMail, row.result)
        if isinstance(answer, ToolUncertain):
            return answer.error
    return GATEWAY_LOST
