"""Settling a call in doubt by asking its hook. Owns when it may be asked and what its answer means.

The hook is asked only when nothing of the call can still be under way: its lease, its hard deadline and the settle time are over by the
database's clock. Asking changes nothing in the world, so it may be repeated and may overlap; the ledger takes one answer.
"""

from __future__ import annotations

import asyncio
from typing import assert_never

import structlog

from waypost import NOT_DONE
from waypost_gateway.about import about
from waypost_gateway.answers import encoded
from waypost_gateway.arguments import exact_arguments
from waypost_gateway.calls import AnyTool, Desk, context_of
from waypost_gateway.classify import Interrupted, Raised, TimedOut, Unusable
from waypost_gateway.execution import execute
from waypost_gateway.inflight import Work
from waypost_gateway.ledger_rules import Ask, CannotTell, Ignore, Repeat, Wait, before_reconcile, quiet_at
from waypost_gateway.outcomes import Answered, Ignored, Left, Outcome
from waypost_gateway.results import carried, unfit, without_secrets
from waypost_gateway.retrying import until_reached
from waypost_proto.taint import merged
from waypost_proto.tools import ToolCall
from waypost_proto.values import Effect, Failure

MAX_HOLD_SECONDS = 5.0
"""A request that comes this much too early is held until its time; one that comes earlier waits for its redelivery."""

_log = structlog.get_logger(__name__)


class Reconciler:
    """Executes calls of mode `reconcile`."""

    def __init__(self, desk: Desk, *, settle_seconds: float) -> None:
        self._desk = desk
        self._settle_seconds = settle_seconds

    async def handle(self, call: ToolCall, tool: AnyTool, work: Work) -> Outcome:
        """Ask the hook if it is time, settle what it says. Idempotent: the ledger keeps the first answer. Cancelling changes nothing."""
        work.effect = Effect.READ
        settle = tool.policy.settle_seconds
        settle_seconds = self._settle_seconds if settle is None else settle
        for _ in range(2):
            row = await until_reached(lambda: self._desk.store.ledger.get(call.run_id, call.call_id), what="read the ledger")
            now = await until_reached(self._desk.store.leases.now, what="read the database's clock")
            rule = before_reconcile(row, attempt=call.attempt, settle_seconds=settle_seconds, now=now)
            if not isinstance(rule, Wait):
                break
            assert row is not None
            early = quiet_at(row, settle_seconds=settle_seconds) - now
            if early > MAX_HOLD_SECONDS:
                break
            await asyncio.sleep(early + 0.01)
        match rule:
            case Ignore(why):
                return Ignored(why)
            case Wait(why):
                return Left(why)
            case Repeat(stored):
                return Answered(encoded(self._desk.answers.repeated(call, stored)), "repeated")
            case CannotTell(failure):
                return self._unknown(call, failure)
            case Ask(attempt):
                return await self._ask(call, tool, work, attempt)
        assert_never(rule)

    async def give_up(self, call: ToolCall, work: Work) -> Outcome:
        """Answer a request whose hook was told to stop and goes on."""
        work.given_up = True
        if work.interrupted is not None:
            return Left("the gateway stops")
        return self._unknown(call, Failure(type="Timeout", message="the reconcile hook gave no answer in time, and will not stop"))

    async def _ask(self, call: ToolCall, tool: AnyTool, work: Work, attempt: int) -> Outcome:
        desk = self._desk
        if not tool.has_reconcile:
            return self._unknown(
                call, Failure(type="NoReconcileHook", message=f"tool {tool.name} has no reconcile hook; a person must resolve it")
            )
        args = await until_reached(lambda: exact_arguments(call, desk.store.blobs), what="read arguments")
        if isinstance(args, Failure):
            return self._unknown(call, args)
        seconds = call.timeout_seconds or tool.policy.timeout_seconds
        ctx = context_of(call, seconds, desk, work)
        value, ending = await execute(lambda: tool.ask_reconcile(ctx, args), seconds=seconds, work=work, scrub=desk.scrub)
        match ending:
            case Interrupted():
                return Left("the gateway stops")
            case TimedOut(after):
                return self._unknown(call, Failure(type="Timeout", message=f"the reconcile hook gave no answer within {after:g} s"))
            case Raised(failure) | Unusable(failure):
                return self._unknown(call, failure)
            case None:
                assert value is not None
                taint = merged(tool.taint, ctx.marks)
                return await self._settle(call, attempt, None if value is NOT_DONE else without_secrets(value), taint)
        assert_never(ending)

    async def _settle(self, call: ToolCall, attempt: int, result: bytes | None, taint: tuple[str, ...]) -> Outcome:
        """`result` None: it surely did not take effect."""
        desk = self._desk
        if result is None:
            body = await desk.permits.settle_attempt(call, attempt, "failed", encoded(desk.answers.not_done(call)))
            return Left("somebody else settled it") if body is None else Answered(body, "not_done")
        failure = unfit(result)
        if failure is not None:
            return self._unknown(call, failure)
        value = await until_reached(lambda: carried(result, desk.store.blobs), what="store a large result")
        body = await desk.permits.settle_attempt(call, attempt, "done", encoded(desk.answers.reconciled(call, value, taint=taint)))
        return Left("somebody else settled it") if body is None else Answered(body, "reconciled")

    def _unknown(self, call: ToolCall, failure: Failure) -> Answered:
        _log.info("the reconcile hook cannot tell", **about(call), error_type=failure.type)
        return Answered(encoded(self._desk.answers.unknown(call, failure)), "unknown")
