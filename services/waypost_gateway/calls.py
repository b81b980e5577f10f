"""One tool call, from its message to its outcome: policy, arguments, permit, execution, settlement. Owns the order of these steps.

The order is the guarantee. Everything that can refuse a call comes before the ledger says `started`; after that, only `classify` decides
what may be said of it; and what is said is in the ledger before it is published. Idempotent by (run, call, attempt): a repeat of the same
message meets the ledger row of the first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, assert_never

import structlog
from msgspec import structs

from waypost import Tool, ToolContext
from waypost_gateway.allowlist import AllowList
from waypost_gateway.answers import Answers, encoded
from waypost_gateway.arguments import exact_arguments
from waypost_gateway.classify import Doubt, Drop, Fail, GiveBack, Returned, Succeed, Unusable, classify, stricter
from waypost_gateway.clock import DatabaseClock
from waypost_gateway.execution import execute
from waypost_gateway.failures import Scrubber, failure_of
from waypost_gateway.inflight import Permit, Work
from waypost_gateway.outcomes import Answered, Ignored, Left, Outcome
from waypost_gateway.permits import Permits
from waypost_gateway.results import carried, unfit
from waypost_gateway.retrying import until_reached
from waypost_gateway.suspects import SUSPECT_AFTER, Suspects
from waypost_io import faults
from waypost_io.store.ports import Store
from waypost_proto.errors import BadInput, TransientError
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.tools import ToolCall
from waypost_proto.usage import Usage
from waypost_proto.values import BlobRef, Effect, Failure

AnyTool = Tool[Any, Any]
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What executing a call needs; one per gateway."""

    store: Store
    allowlist: AllowList
    permits: Permits
    answers: Answers
    clock: DatabaseClock
    scrub: Scrubber
    suspects: Suspects


class Calls:
    """Executes calls of mode `execute`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def handle(self, call: ToolCall, tool: AnyTool, work: Work) -> Outcome:
        """Carry the call out. Raises nothing but cancellation and bugs; waits while the database does not answer.

        Cancelling leaves a started row behind, as a crash would.
        """
        effect = stricter(tool.effect, call.effect)
        work.effect = effect
        needs_permit = call.permit or effect is not Effect.READ
        checked = await self._check(call, tool, needs_permit=needs_permit)
        if not isinstance(checked, bytes):
            if needs_permit:
                # what was started before is not undone by a refusal now: the ledger comes first
                known = await self._desk.permits.known(call)
                if known is not None:
                    return known
            return checked
        seconds = self._seconds(call, tool, effect)
        if seconds <= 0:
            late = Failure(type="DeadlineExceeded", message="the run's deadline passed before the call could start")
            # a gateway that is gone may have started it in time, and nobody knows how that ended
            known = await self._desk.permits.known(call) if effect is Effect.UNSAFE else None
            return known or self._failed(call, late, retryable=False)
        if effect is not Effect.UNSAFE and work.delivered > SUSPECT_AFTER:
            await self._desk.suspects.hold(call, work)
        if work.interrupted is not None:
            return Left("the gateway stops") if work.interrupted == "draining" else Ignored("the run has ended")
        if needs_permit:
            may_repeat = effect is not Effect.UNSAFE
            permit = await self._desk.permits.obtain(call, timeout_seconds=seconds, may_repeat=may_repeat)
            if not isinstance(permit, Permit):
                return permit
            work.permit = permit
        return await self._run(call, tool, work, checked, seconds)

    async def _check(self, call: ToolCall, tool: AnyTool, *, needs_permit: bool) -> bytes | Answered:
        """The exact argument bytes if this call may be executed at all, or the refusal."""
        desk = self._desk
        if needs_permit and not call.permit:
            return self._refused(
                call,
                Failure(
                    type="PermitMissing",
                    message=f"tool {tool.name} is {tool.effect.value} here and needs a permit, the call has none; it was not started",
                ),
            )
        if not desk.allowlist.surely_allows(call.agent, call.tool) and not await until_reached(
            lambda: desk.allowlist.allows(call.agent, call.tool), what="read the allow-lists"
        ):
            denied = f"agent {call.agent!r} does not list tool {call.tool!r} in its tools=[…]; the call was not started"
            return self._refused(call, Failure(type="ToolDenied", message=denied))
        args = await until_reached(lambda: exact_arguments(call, desk.store.blobs), what="read arguments")
        if isinstance(args, Failure):
            return self._refused(call, args)
        try:
            tool.decode_arguments(args)
        except BadInput as error:
            invalid = Failure(type="ArgumentsInvalid", message=failure_of(error, desk.scrub).message)
            return self._failed(call, invalid, retryable=False)
        return args

    def _seconds(self, call: ToolCall, tool: AnyTool, effect: Effect) -> float:
        """How long the attempt may take. The run's deadline keeps anything from starting, but cuts only reads short: cutting an effect
        would turn a call that could be known into one in doubt."""
        seconds = call.timeout_seconds or tool.policy.timeout_seconds
        if call.deadline_at is None:
            return seconds
        left = call.deadline_at - self._desk.clock.now()
        return min(seconds, left) if effect is Effect.READ or left <= 0 else seconds

    async def _run(self, call: ToolCall, tool: AnyTool, work: Work, args: bytes, seconds: float) -> Outcome:
        loop = asyncio.get_running_loop()
        ctx = context_of(call, seconds, self._desk.clock)
        faults.point("gateway.execute.before")
        began = loop.time()
        result, ending = await execute(lambda: tool.invoke(ctx, args), seconds=seconds, work=work, scrub=self._desk.scrub)
        duration = loop.time() - began
        faults.point("gateway.execute.after")
        if result is not None:
            failure = unfit(result)
            verdict = classify(work.effect, Returned(result) if failure is None else Unusable(failure))
        else:
            assert ending is not None
            verdict = classify(work.effect, ending)
        match verdict:
            case Succeed(value):
                return await self._succeeded(call, work, value, duration, ctx.meter.usage)
            case Fail(failure, retryable, retry_after):
                answer = self._desk.answers.failed(
                    call, failure, retryable=retryable, retry_after_seconds=retry_after, duration_seconds=duration
                )
                answer = structs.replace(answer, usage=ctx.meter.usage)
                return await self._settled(call, work, "failed", encoded(answer), "failed")
            case Doubt(failure):
                return await self._doubtful(call, work, failure)
            case GiveBack():
                await self._give_back(call, work)
                return Left("the gateway stops")
            case Drop():
                return Ignored("the run has ended")
        assert_never(verdict)

    async def _succeeded(self, call: ToolCall, work: Work, result: bytes, duration: float, usage: Usage | None) -> Outcome:
        value: bytes | BlobRef = result
        if len(result) > CLAIM_CHECK_BYTES:
            value = await until_reached(lambda: carried(result, self._desk.store.blobs), what="store a large result")
        answer = structs.replace(self._desk.answers.succeeded(call, value, duration_seconds=duration), usage=usage)
        return await self._settled(call, work, "done", encoded(answer), "succeeded")

    async def _doubtful(self, call: ToolCall, work: Work, failure: Failure) -> Outcome:
        assert work.permit is not None, "an unsafe call was started without a permit"
        settle_seconds = self._desk.permits.settle_seconds(work.permit)
        _log.warning("a call is in doubt", run_id=call.run_id, call_id=call.call_id, tool=call.tool, error_type=failure.type)
        answer = self._desk.answers.uncertain(call, failure, settle_seconds=settle_seconds)
        return await self._settled(call, work, "doubt", encoded(answer), "uncertain")

    async def _settled(self, call: ToolCall, work: Work, state: Literal["done", "failed", "doubt"], answer: bytes, name: str) -> Outcome:
        """The ledger first, where there is a row; the answer only if the ledger took it."""
        if work.permit is None:
            return Answered(answer, name)
        body = await self._desk.permits.settle(call, work.permit, state, answer)
        return Left("the ledger row has moved on") if body is None else Answered(body, name)

    async def _give_back(self, call: ToolCall, work: Work) -> None:
        """End the lease now, so that the gateway which gets the message next need not wait for it. Best effort: it would end by itself."""
        permit = work.permit
        if permit is None:
            return
        try:
            await self._desk.store.ledger.extend(call.run_id, call.call_id, gateway=permit.owner, lease_seconds=0.0)
        except TransientError as error:
            _log.debug("a lease could not be given back", error=str(error))

    def _refused(self, call: ToolCall, failure: Failure) -> Answered:
        return Answered(encoded(self._desk.answers.refused(call, failure)), "refused")

    def _failed(self, call: ToolCall, failure: Failure, *, retryable: bool) -> Answered:
        return Answered(encoded(self._desk.answers.failed(call, failure, retryable=retryable)), "failed")


def context_of(call: ToolCall, seconds: float, clock: DatabaseClock) -> ToolContext:
    """What the tool's code learns of its call."""
    return ToolContext(
        idempotency_key=call.idempotency_key,
        run_id=call.run_id,
        call_id=call.call_id,
        agent=call.agent,
        tool=call.tool,
        attempt=call.attempt,
        deadline=datetime.fromtimestamp(clock.now() + seconds, UTC),
        tenant=call.tenant,
        correlation_id=call.correlation_id,
        # a lazy proxy: what most tools never use is bound when they do
        log=structlog.get_logger("waypost.tool", run_id=call.run_id, call_id=call.call_id, tool=call.tool, attempt=call.attempt),
    )
