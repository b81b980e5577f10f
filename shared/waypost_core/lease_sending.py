"""What the events of leases send: messages between a run and its parent or children. Part of `react`."""

from __future__ import annotations

from waypost_core.budgets import known, usage_of
from waypost_core.effects import AnyEffect, SendMail
from waypost_core.state import RunState
from waypost_proto import events as ev
from waypost_proto.mailbox import AskLease, GrantLease, RecallLease, ReturnLease


def lease_asked(state: RunState, seq: int, data: ev.LeaseAsked) -> list[AnyEffect]:
    """The question to the parent."""
    parent = state.parent
    if parent is None:
        return []
    spent = usage_of(known(state))
    mail = AskLease(run_id=parent.run_id, call_id=parent.call_id, child=state.run_id, need=data.need, spent=spent, number=data.number)
    return [SendMail(to=parent.run_id, agent=parent.agent, mail=mail, sent=seq, key=f"ask.{seq}")]


def lease_returned(state: RunState, seq: int, data: ev.LeaseReturned) -> list[AnyEffect]:
    """The answer to the parent's question."""
    parent = state.parent
    if parent is None:
        return []
    spent = usage_of(known(state))
    mail = ReturnLease(
        run_id=parent.run_id,
        call_id=parent.call_id,
        child=state.run_id,
        returned=data.returned,
        spent=spent,
        number=data.number,
        asked=data.asked,
    )
    return [SendMail(to=parent.run_id, agent=parent.agent, mail=mail, sent=seq, key=f"return.{seq}")]


def lease_granted(state: RunState, seq: int, data: ev.LeaseGranted) -> list[AnyEffect]:
    """More for a child."""
    call = state.calls.get(data.call_id)
    if call is None:
        return []
    mail = GrantLease(run_id=data.child_run_id, lease=data.lease)
    return [SendMail(to=data.child_run_id, agent=call.name, mail=mail, sent=seq, key=f"grant.{seq}")]


def lease_recalled(state: RunState, seq: int, data: ev.LeaseRecalled) -> list[AnyEffect]:
    """The question to children that may hold more than they need."""
    effects: list[AnyEffect] = []
    for call_id in data.call_ids:
        call = state.calls.get(call_id)
        if call is not None and call.child is not None:
            mail = RecallLease(run_id=call.child, number=data.number)
            effects.append(SendMail(to=call.child, agent=call.name, mail=mail, sent=seq, key=f"recall.{seq}"))
    return effects
