"""One tool call, from its message to its outcome: allow-list, arguments, policy, breaker, permit, execution. Owns their order.

The order is the guarantee. Everything that can refuse a call comes before the ledger says `started`; after that, only `classify` decides
what may be said of it; and what is said is in the ledger before it is published. Idempotent by (run, call, attempt): a repeat of the same
message meets the ledger row of the first.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, assert_never

import structlog
from msgspec import UNSET, structs

from waypost import Tool, ToolContext
from waypost_gateway.about import about
from waypost_gateway.allowlist import AllowList
from waypost_gateway.answers import Answers, encoded
from waypost_gateway.arguments import exact_arguments, inline_arguments
from waypost_gateway.breaking import Wait
from waypost_gateway.classify import (
    Doubt,
    Drop,
    Ending,
    Fail,
    GiveBack,
    Interrupted,
    Returned,
    Succeed,
    TimedOut,
    Unusable,
    Verdict,
    classify,
    stricter,
)
from waypost_gateway.clock import DatabaseClock
from waypost_gateway.execution import GRACE_SECONDS, execute
from waypost_gateway.failures import Scrubber, failure_of
from waypost_gateway.guarding import Admitted, Guard
from waypost_gateway.inflight import Permit, Work
from waypost_gateway.outcomes import Answered, Ignored, Left, Outcome
from waypost_gateway.permits import Permits
from waypost_gateway.results import carried, unfit, without_secrets
from waypost_gateway.retrying import until_reached
from waypost_gateway.suspects import SUSPECT_AFTER, Suspects
from waypost_io import faults
from waypost_io.store.ports import Store
from waypost_proto.errors import BadInput, TransientError
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.taint import merged
from waypost_proto.tools import ToolCall
from waypost_proto.usage import Usage
from waypost_proto.values import BlobRef, Effect, Failure

AnyTool = Tool[Any, Any]
_log = structlog.get_logger(__name__)


@dataclass(slots=True)  # not frozen, which costs more than the rest of it: one per call
class Checked:
    """A call that may be made: its arguments as the tool's function takes them."""

    arguments: dict[str, Any]


@dataclass(slots=True)
class Attempt:
    """One execution: what with, for how long, and whom to tell how it went."""

    checked: Checked
    seconds: float
    admitted: Admitted


@dataclass(slots=True)
class Told:
    """What an answer says besides its verdict."""

    seconds: float
    taint: tuple[str, ...] = ()
    usage: Usage | None = None
    """What the tool said it used; None: what was reserved."""


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
    guard: Guard
    secrets: Mapping[str, str]
    grace_seconds: float = GRACE_SECONDS


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
        checked = await self._check(call, tool, effect, needs_permit=needs_permit)
        if isinstance(checked, Answered):
            if needs_permit:
                # what was started before is not undone by a refusal now: the ledger comes first
                known = await self._desk.permits.known(call, settle_seconds=tool.policy.settle_seconds)
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
        admitted = self._desk.guard.admit(tool.name)
        if isinstance(admitted, Wait):
            known = await self._desk.permits.known(call, settle_seconds=tool.policy.settle_seconds) if needs_permit else None
            answer = self._desk.answers.deferred(call, admitted.message, retry_after_seconds=admitted.seconds)
            return known or Answered(encoded(answer), "deferred")
        with admitted:
            if needs_permit:
                permit = await self._desk.permits.obtain(
                    call,
                    timeout_seconds=seconds,
                    may_repeat=effect is not Effect.UNSAFE,
                    settle_seconds=tool.policy.settle_seconds,
                )
                if not isinstance(permit, Permit):
                    return permit
                work.permit = permit
            return await self._run(call, tool, work, Attempt(checked, seconds, admitted))

    async def give_up(self, call: ToolCall, tool: AnyTool, work: Work) -> Outcome:
        """Answer a call whose code was told to stop and goes on: what it means when a time limit passes, whatever the code does later."""
        work.given_up = True
        seconds = self._seconds_asked(call, tool)
        _log.error("a tool will not stop, its call is answered without it", **about(call))
        ending = Interrupted(work.interrupted) if work.interrupted is not None else TimedOut(seconds)
        return await self._conclude(call, tool, work, classify(work.effect, ending), Told(seconds))

    async def _check(self, call: ToolCall, tool: AnyTool, effect: Effect, *, needs_permit: bool) -> Checked | Answered:
        """The arguments if this call may be executed at all, or the refusal."""
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
        if call.args_ref is UNSET:
            args = inline_arguments(call)
        else:
            args = await until_reached(lambda: exact_arguments(call, desk.store.blobs), what="read arguments")
        if isinstance(args, Failure):
            return self._refused(call, args)
        try:
            arguments = tool.decode_arguments(args)
        except BadInput as error:
            invalid = Failure(type="ArgumentsInvalid", message=failure_of(error, desk.scrub).message)
            return self._failed(call, invalid, retryable=False)
        missing = [name for name in tool.policy.secrets if name not in desk.secrets]
        if missing:
            lacking = f"the gateway has no secret {', '.join(missing)}; the call was not started"
            return self._failed(call, Failure(type="SecretMissing", message=lacking), retryable=True)
        refusal = desk.guard.judge(call, effect, args)
        return Checked(arguments) if refusal is None else refusal

    def _seconds_asked(self, call: ToolCall, tool: AnyTool) -> float:
        return call.timeout_seconds or tool.policy.timeout_seconds

    def _seconds(self, call: ToolCall, tool: AnyTool, effect: Effect) -> float:
        """How long the attempt may take. The run's deadline keeps anything from starting, but cuts only reads short: cutting an effect
        would turn a call that could be known into one in doubt."""
        seconds = self._seconds_asked(call, tool)
        if call.deadline_at is None:
            return seconds
        left = call.deadline_at - self._desk.clock.now()
        return min(seconds, left) if effect is Effect.READ or left <= 0 else seconds

    async def _run(self, call: ToolCall, tool: AnyTool, work: Work, attempt: Attempt) -> Outcome:
        desk = self._desk
        ctx = context_of(call, attempt.seconds, desk, work)
        faults.point("gateway.execute.before")
        began = time.monotonic()  # a loop's own clock stands still until it waits
        ending: Ending | None
        result, ending = await execute(
            lambda: tool.run(ctx, attempt.checked.arguments),
            seconds=attempt.seconds,
            work=work,
            scrub=desk.scrub,
            grace_seconds=desk.grace_seconds,
        )
        duration = time.monotonic() - began
        faults.point("gateway.execute.after")
        if result is not None:
            result = without_secrets(result)
            failure = unfit(result, tool.policy.max_result_bytes)
            ending = Returned(result) if failure is None else Unusable(failure)
        assert ending is not None
        attempt.admitted.report(ending)
        verdict = classify(work.effect, ending)
        if work.given_up and not isinstance(verdict, Succeed):
            return Ignored("it was answered when its code would not stop")
        taint = merged(tool.taint, ctx.marks) if ctx.marks else tool.taint
        return await self._conclude(call, tool, work, verdict, Told(duration, taint, ctx.meter.usage))

    async def _conclude(self, call: ToolCall, tool: AnyTool, work: Work, verdict: Verdict, told: Told) -> Outcome:
        """Settle the ledger and build the answer."""
        match verdict:
            case Succeed(value):
                return await self._succeeded(call, work, value, told)
            case Fail(failure, retryable, retry_after):
                answer = self._desk.answers.failed(
                    call, failure, retryable=retryable, retry_after_seconds=retry_after, kinds=verdict.kinds, duration_seconds=told.seconds
                )
                answer = structs.replace(answer, usage=told.usage, taint=told.taint)
                return await self._settled(call, work, "failed", encoded(answer), "failed")
            case Doubt(failure):
                return await self._doubtful(call, tool, work, failure)
            case GiveBack():
                await self._give_back(call, work)
                return Left("the gateway stops")
            case Drop():
                return Ignored("the run has ended")
        assert_never(verdict)

    async def _succeeded(self, call: ToolCall, work: Work, result: bytes, told: Told) -> Outcome:
        value: bytes | BlobRef = result
        if len(result) > CLAIM_CHECK_BYTES:
            value = await until_reached(lambda: carried(result, self._desk.store.blobs), what="store a large result")
        answer = self._desk.answers.succeeded(call, value, duration_seconds=told.seconds, taint=told.taint)
        if told.usage is not None:
            answer = structs.replace(answer, usage=told.usage)
        return await self._settled(call, work, "done", encoded(answer), "succeeded")

    async def _doubtful(self, call: ToolCall, tool: AnyTool, work: Work, failure: Failure) -> Outcome:
        assert work.permit is not None, "an unsafe call was started without a permit"
        settle_seconds = self._desk.permits.settle_seconds(work.permit, tool.policy.settle_seconds)
        _log.warning("a call is in doubt", **about(call), error_type=failure.type)
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


def context_of(call: ToolCall, seconds: float, desk: Desk, work: Work) -> ToolContext:
    """What the tool's code learns of its call."""
    return ToolContext(
        idempotency_key=call.idempotency_key,
        run_id=call.run_id,
        call_id=call.call_id,
        agent=call.agent,
        tool=call.tool,
        attempt=call.attempt,
        deadline=datetime.fromtimestamp(desk.clock.now() + seconds, UTC),
        tenant=call.tenant,
        correlation_id=call.correlation_id,
        labels=call.labels,
        taint=call.taint,
        traceparent=work.traceparent,
        secrets=desk.secrets,
        # a lazy proxy: what most tools never use is bound when they do
        log=structlog.get_logger("waypost.tool", run_id=call.run_id, call_id=call.call_id, tool=call.tool, attempt=call.attempt),
    )
