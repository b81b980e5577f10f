"""What gateways answer: results, failed attempts, doubt. Idempotent by (call, attempt): what is settled gives no events."""

from __future__ import annotations

from typing import assert_never

from waypost_core.backoff import delay_seconds, policy_for
from waypost_core.decision import Decision
from waypost_core.effects import RevokeCall
from waypost_core.ending import end_if_settled
from waypost_core.messages import Env
from waypost_core.state import Call, RunState
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId, digest_of, idempotency_key
from waypost_proto.usage import Usage
from waypost_proto.values import Failure, Retry

RECONCILE_TRIES = 5
"""How often the reconcile hook may fail to tell before a person is asked."""
DEFER_RETRY = Retry(max_attempts=1, initial_seconds=0.25, factor=2.0, max_seconds=30.0)
"""At least this long between two looks at an open breaker, whatever the gateway says: each look is two events."""
ESCALATION_ROLE = "admin"
"""Who is asked when a policy escalates an approval and does not say to whom."""
RECONCILE_RETRY = Retry(max_attempts=RECONCILE_TRIES, initial_seconds=2.0, factor=3.0, max_seconds=300.0)


def tool_answer(state: RunState, message: mb.AnyToolMail, env: Env) -> Decision:
    """The events of one answer."""
    call = state.calls.get(message.call_id)
    if call is None or call.kind != "tool" or message.call_digest not in ("", call.args_digest):
        return Decision()  # an answer to other arguments is one to a request that was never committed
    match message:
        case mb.ToolSucceeded():
            events = _succeeded(call, message)
        case mb.ToolFailed():
            events = [] if _stale(call, message) else _failed(state, call, message, env)
        case mb.ToolUncertain():
            events = [] if _stale(call, message) else [_in_doubt(call, message, env)]
        case mb.ToolNotDone():
            events = [] if _stale(call, message) else not_done(state, message.call_id, env)
        case mb.ToolUnknown():
            events = [] if _stale(call, message) else [_still_in_doubt(call, message, env)]
        case mb.ToolRefused():
            events = [] if _stale(call, message) else _refused(call, message)
        case mb.ToolDeferred():
            events = [] if _stale(call, message) else _deferred(state, call, message, env)
        case mb.ToolNeedsApproval():
            events = [] if _stale(call, message) else _approval_wanted(state, call, message, env)
        case _:
            assert_never(message)
    settled = any(isinstance(e, (ev.ToolCallCompleted, ev.ToolCallFailed, ev.ToolCallCancelled)) for e in events)
    if settled:
        events = [*events, *end_if_settled(state, message.call_id)]
    decision = Decision(events=events)
    if isinstance(message, (mb.ToolRefused, mb.ToolNeedsApproval, mb.ToolDeferred)) and events and call.permit:
        decision.effects.append(RevokeCall(message.call_id))  # not started here, it must not be started elsewhere after all
    return decision


def _stale(call: Call, message: mb.ToolMail) -> bool:
    """An answer about an attempt that is no longer the current one, or that the call does not wait for."""
    return message.attempt != call.attempt or call.stage not in ("sent", "doubt", "reconcile")


def _succeeded(call: Call, message: mb.ToolSucceeded) -> list[ev.Data]:
    """A success counts whichever attempt brought it, as long as the call may run at all: what was paid for is used."""
    if call.stage in ("held", "approval"):
        return []
    return [
        ev.ToolCallCompleted(
            call_id=message.call_id,
            tool=call.name,
            attempt=message.attempt,
            result=message.result,
            result_ref=message.result_ref,
            via=message.via,
            duration_seconds=message.duration_seconds,
            taint=message.taint,
            edit=call.edit,
            usage=message.usage,
        )
    ]


def _failed(state: RunState, call: Call, message: mb.ToolFailed, env: Env) -> list[ev.Data]:
    if not message.retryable:
        return [failed_for_good(message.call_id, call, message.error, taint=message.taint, usage=message.usage)]
    return attempt_failed(state, message.call_id, message.error, env, message)


def attempt_failed(
    state: RunState,
    call_id: CallId,
    error: Failure,
    env: Env,
    said: mb.ToolFailed | None = None,
) -> list[ev.Data]:
    """The attempt failed without effect: another one later, or the end of the call. `said` is the gateway's answer, if it was one."""
    kinds: tuple[str, ...] = () if said is None else said.kinds
    taint: tuple[str, ...] = () if said is None else said.taint
    usage = None if said is None else said.usage
    retry_after_seconds = None if said is None else said.retry_after_seconds
    call = state.calls[call_id]
    if call.abandoned or state.ending is not None:
        return [ev.ToolCallCancelled(call_id=call_id, tool=call.name)]
    retry = policy_for(call.retry or Retry(), (error.type, *kinds))
    if retry is None or call.attempt >= retry.max_attempts:
        return [failed_for_good(call_id, call, error, taint=taint, usage=usage)]
    wait = delay_seconds(retry, call.attempt, env.jitter, retry_after_seconds)
    return [
        ev.ToolAttemptFailed(
            call_id=call_id,
            tool=call.name,
            attempt=call.attempt,
            max_attempts=retry.max_attempts,
            error=error,
            next_attempt_at=env.now + wait,
            retry_after_seconds=retry_after_seconds,
            usage=usage,
        )
    ]


def _deferred(state: RunState, call: Call, message: mb.ToolDeferred, env: Env) -> list[ev.Data]:
    """The gateway would not start it now: the same attempt later. Not counted as an attempt, however often that happens."""
    if call.abandoned or state.ending is not None:
        return [ev.ToolCallCancelled(call_id=message.call_id, tool=call.name)]
    wait = max(message.retry_after_seconds, delay_seconds(DEFER_RETRY, call.deferred + 1, env.jitter))
    return [
        ev.ToolCallDeferred(
            call_id=message.call_id,
            tool=call.name,
            attempt=call.attempt,
            why=message.why,
            message=message.message,
            next_attempt_at=env.now + wait,
        )
    ]


def failed_for_good(
    call_id: CallId, call: Call, error: Failure, *, by: str = "", taint: tuple[str, ...] = (), usage: Usage | None = None
) -> ev.ToolCallFailed:
    """The code gets this error at the call."""
    return ev.ToolCallFailed(
        call_id=call_id, tool=call.name, attempt=call.attempt, error=error, by=by, taint=taint, edit=call.edit, usage=usage
    )


def _in_doubt(call: Call, message: mb.ToolUncertain, env: Env) -> ev.Data:
    tool = env.tools.get(call.name)
    reconcile_at = env.now + message.settle_seconds if tool is not None and tool.reconcile else None
    return ev.ToolCallInDoubt(call_id=message.call_id, tool=call.name, attempt=call.attempt, error=message.error, reconcile_at=reconcile_at)


def _still_in_doubt(call: Call, message: mb.ToolUnknown, env: Env) -> ev.Data:
    """The hook could not tell: ask again later, a bounded number of times, then leave it to a person. Never guess."""
    reconcile_at = None
    if call.tries < RECONCILE_TRIES:
        reconcile_at = env.now + delay_seconds(RECONCILE_RETRY, call.tries, env.jitter)
    return ev.ToolCallInDoubt(call_id=message.call_id, tool=call.name, attempt=call.attempt, error=message.error, reconcile_at=reconcile_at)


def not_done(state: RunState, call_id: CallId, env: Env) -> list[ev.Data]:
    """The effect surely did not take place: the attempt failed, and may be repeated under the same key."""
    error = Failure(type="NotExecuted", message="the call did not take effect")
    return attempt_failed(state, call_id, error, env)


def _refused(call: Call, message: mb.ToolRefused) -> list[ev.Data]:
    """A revoked permit needs no event: whoever revoked it has recorded why. Any other refusal is final."""
    if message.error.type == "PermitRevoked":
        return []
    return [failed_for_good(message.call_id, call, message.error)]


def _approval_wanted(state: RunState, call: Call, message: mb.ToolNeedsApproval, env: Env) -> list[ev.Data]:
    """The gateway's policy wants people to approve the call: it waits as if its agent had asked for that.

    An approval that was given already did not suffice (the policy has changed since): a new one is asked for, under a new id. A policy
    that speaks of other arguments speaks of another call.
    """
    if call.stage != "sent" or message.args_digest != call.args_digest:
        return []
    if call.abandoned or state.ending is not None:
        return [ev.ToolCallCancelled(call_id=message.call_id, tool=call.name)]
    return [
        ev.ApprovalRequested(
            approval_id=approval_id(state, message.call_id, after=call.approval_id),
            call_id=message.call_id,
            tool=call.name,
            args_digest=call.args_digest,
            role=message.role,
            expires_at=env.now + message.expires_seconds,
            reason=message.reason,
            quorum=message.quorum,
            rule=message.rule,
            policy_version=message.policy_version,
            separate=message.separate,
            escalate_to=(message.escalate_to or ESCALATION_ROLE) if message.on_expiry == "escalate" else "",
            escalate_seconds=message.escalate_seconds,
            replaces=call.approval_id or "",
            terms=f"{message.role}*{message.quorum}",
        )
    ]


def approval_id(state: RunState, call_id: CallId, *, after: str | None = None) -> str:
    """Short enough to type, and the same however often it is derived. `after`: the approval that this one replaces."""
    named = idempotency_key(state.run_id, call_id) if after is None else f"{idempotency_key(state.run_id, call_id)} after {after}"
    return f"ap-{digest_of(named.encode())[:16]}"
