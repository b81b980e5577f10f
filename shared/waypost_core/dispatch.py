"""The messages that dispatches become, built from state alone. The shell adds what only it knows: tokens, emissions, entries."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct

from waypost_core.budgets import NOTHING, UNBOUND, lease_of, left, limited
from waypost_core.state import Call, RunState
from waypost_proto.codec import decode
from waypost_proto.ids import CallId, idempotency_key, traceparent
from waypost_proto.limits import MAX_ENTRY_BYTES_PER_ACTIVATION
from waypost_proto.mailbox import StartRun
from waypost_proto.registry import ToolDefinition
from waypost_proto.task import format_time
from waypost_proto.tools import ToolCall
from waypost_proto.usage import usd_of
from waypost_proto.values import BudgetLeft, Effect, Parent, Token
from waypost_proto.work import Activation, Entry


def activation(state: RunState, entries: Sequence[Entry], *, build: str, token: Token, now: float = 0.0, sender: str = "") -> Activation:
    """What is new since the worker's last answer. Entries that are too many to carry are fetched by the worker."""
    size = sum(len(bytes(entry.data)) + 64 for entry in entries)
    limits = left(state) if limited(state) else UNBOUND
    fetch = size > MAX_ENTRY_BYTES_PER_ACTIVATION
    return Activation(
        run_id=state.run_id,
        agent=state.agent,
        build=build,
        token=token,
        base=state.digest,
        seen=state.seen,
        upto=state.outside,
        entries=[] if fetch else list(entries),
        fetch=fetch,
        steps_left=state.steps_left,
        deadline_at=state.deadline_at,
        metered=limits[1] is not None or limits[2] is not None,
        unfunded=_not_to_start(state, entries) if state.waiting or state.fork is not None else [],
        correlation_id=state.correlation_id,
        tenant=state.tenant,
        now=round(now, 6),
        cost_limited=limits[2] is not None,
        sender=sender,
    )


class _OfCall(Struct, frozen=True):
    call_id: CallId


def _not_to_start(state: RunState, entries: Sequence[Entry]) -> list[CallId]:
    """Local steps that were asked for and wait: for budget, or in a fork for their source's result, which may be among `entries`."""
    waits = [i for i, c in state.calls.items() if c.kind == "step" and (c.unfunded or c.stage == "tape")]
    return [*waits, *(decode(_OfCall, entry.data).call_id for entry in entries if entry.type == "step_recalled")]


def needs_args(call: Call) -> bool:
    """Whether the arguments must be read from the event that requested the call (they were too large for the state)."""
    return call.args is UNSET and call.args_ref is None


def may_precede_commit(call: Call, tool: ToolDefinition | None) -> bool:
    """Whether the call may go out while the commit that requests it is still under way.

    Only a first attempt of a read that nothing has to allow and that reserves nothing: should the commit fail, nothing has happened
    but a read, whose answer is for a call that the log does not have, or has with other arguments (CORRECTNESS.md row 4).
    """
    free = call.effect is Effect.READ and not call.permit and call.approval_id is None and call.reserve == NOTHING
    return free and call.attempt == 1 and call.sent == call.seq and tool is not None and tool.answers_digest


def tool_call(state: RunState, call_id: CallId, call: Call, *, mode: str, emission: int, sender: str = "") -> ToolCall:
    """One attempt as the gateway gets it. The call's arguments must be there (`needs_args`)."""
    return ToolCall(
        run_id=state.run_id,
        call_id=call_id,
        agent=state.agent,
        tool=call.name,
        attempt=call.attempt,
        emission=emission,
        mode="reconcile" if mode == "reconcile" else "execute",
        effect=call.effect or Effect.UNSAFE,
        args=call.args,
        args_ref=UNSET if call.args_ref is None else call.args_ref,
        args_digest=call.args_digest,
        idempotency_key=idempotency_key(state.run_id, call_id),
        timeout_seconds=call.timeout_seconds,
        deadline_at=state.deadline_at,
        permit=call.permit,
        approval_id=call.approval_id,
        correlation_id=state.correlation_id,
        tenant=state.tenant,
        labels=state.labels,
        taint=state.taint,
        approval_terms=call.terms,
        budget_left=_budget_left(state),
        sender=sender,
    )


def _budget_left(state: RunState) -> BudgetLeft | None:
    """What the run could still use when the call was sent; None: nothing limits it."""
    if not limited(state):
        return None
    steps, tokens, cost = left(state)
    return BudgetLeft(
        steps=None if steps is None else max(0, steps + state.account.worker),
        tokens=None if tokens is None else max(0, tokens),
        cost_usd=None if cost is None else usd_of(max(0, cost)),
    )


def start_child(state: RunState, call_id: CallId, call: Call) -> StartRun:
    """The start of a child; the same however often it is derived."""
    assert call.child is not None
    return StartRun(
        run_id=call.child,
        agent=call.name,
        input=call.args,
        input_ref=UNSET if call.args_ref is None else call.args_ref,
        correlation_id=state.correlation_id,
        budget=call.budget,
        deadline=None if call.due_at is None else format_time(call.due_at),
        labels=state.labels,
        tenant=state.tenant,
        parent=Parent(run_id=state.run_id, agent=state.agent, call_id=call_id),
        trace=traceparent(state.run_id, call.seq),
        taint=state.taint,
        starter=state.starter,
        lease=None if call.lease == UNBOUND else lease_of(call.lease),
    )
