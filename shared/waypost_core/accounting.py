"""What the events of budgets and leases do to a state. Called by `evolve` only; believes the log, like everything there."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET

from waypost_core.budgets import (
    NOTHING,
    Bound,
    amount,
    at_least,
    bound_of,
    lent_to,
    minus,
    plus,
    reserved,
)
from waypost_core.loops import call_print, remember_call, remember_output
from waypost_core.state import Call, RunState
from waypost_proto import events as ev
from waypost_proto.ids import digest_of
from waypost_proto.taint import merged
from waypost_proto.usage import Usage
from waypost_proto.values import Mark

Unreported = Literal["spent", "sent", "doubt", "free"]
"""What a reservation becomes when nobody said what was used: `spent`; spent if the call was on the road (`sent`), or in doubt (`doubt`);
or `free` again."""


def settle_call(state: RunState, call: Call | None, usage: Usage | None, *, unreported: Unreported) -> None:
    """A call or step is over: what it used is spent, what was held for it is free."""
    if call is None:
        if usage is not None:
            state.account.settle(NOTHING, reserved(usage))
        return
    if call.stage == "tape":  # nothing was taken for it
        return
    if call.unfunded:
        state.waiting -= 1
        call.unfunded = False
    elif usage is not None:
        state.account.settle(call.reserve, reserved(usage))
    elif call.reserve != NOTHING:
        counts = unreported == "spent" or call.stage in _RISKS[unreported]
        state.account.settle(call.reserve, call.reserve if counts else NOTHING)


_RISKS: dict[Unreported, tuple[str, ...]] = {
    "spent": (),
    "sent": ("sent", "doubt", "reconcile"),
    "doubt": ("doubt", "reconcile"),
    "free": (),
}
"""In which stages a call may have used what was held for it."""


def child_settled(state: RunState, call: Call, usage: Usage | None) -> None:
    """A child ended: what it used is spent, the rest of its lease is free. A child that does not say has used all of it."""
    if call.stage == "tape":
        return
    if call.unfunded:
        state.waiting -= 1
        return
    if call.wants is not None:
        state.waiting -= 1
    lent = lent_to(call)
    state.account.lent = minus(state.account.lent, lent)
    state.account.below = plus(state.account.below, amount(usage) if usage is not None else at_least(lent, call.told))
    _answered(state, call)


def unsettled(state: RunState) -> None:
    """The run ends: what is still held for something under way counts as spent, because nobody will say any more."""
    for call in state.calls.values():
        settle_call(state, call, None, unreported="spent" if call.kind == "step" else "sent")


def worker_done(state: RunState, mark: Mark | None) -> None:
    """The run ends. If its worker says so, we know what it still has in flight; else all that it was leased counts as spent. Once."""
    account = state.account
    spent = account.worker if mark is None else min(account.worker, mark.running)
    account.own = (account.own[0] + spent, account.own[1], account.own[2])
    account.worker = 0


def call_funded(state: RunState, data: ev.CallFunded, seq: int) -> None:
    """What waited gets what it needs."""
    call = state.calls[data.call_id]
    call.unfunded = False
    call.sent = seq
    state.waiting -= 1
    state.drained = False
    state.account.spend_step()
    state.account.hold(call.reserve)
    if call.kind == "step":
        state.step_wanted = data.call_id
    elif call.kind == "child":
        ask_granted(state, call, bound_of(data.lease))
        if state.paused:
            call.stage = "unsent"


def ask_granted(state: RunState, call: Call, lease: Bound) -> None:
    """A child has been given `lease` in total."""
    before = lent_to(call)
    call.lease = lease
    state.account.lent = plus(state.account.lent, minus(lent_to(call), before))
    state.drained = False


def lease_asked(state: RunState, data: ev.LeaseAsked, _seq: int) -> None:
    """A question to the parent is under way."""
    state.asks = data.number
    state.asking = True


def lease_received(state: RunState, data: ev.LeaseReceived, _seq: int) -> None:
    """The parent gave more: totals only grow."""
    state.account.given = bound_of(data.lease)
    state.asking = False


def lease_returned(state: RunState, data: ev.LeaseReturned, _seq: int) -> None:
    """Something went back to the parent, and its question is answered. Our own question counted on that: it is asked anew."""
    state.account.returned = amount(data.returned)
    state.answering = 0
    if data.asked is not None:
        state.asking = False


def lease_wanted(state: RunState, data: ev.LeaseWanted, _seq: int) -> None:
    """A child waits for more."""
    call = state.calls[data.call_id]
    if call.wants is None:
        state.waiting += 1
    call.wants = amount(data.need)
    call.told = amount(data.spent)
    call.asked = data.number


def lease_granted(state: RunState, data: ev.LeaseGranted, _seq: int) -> None:
    """A child got more, and waits no longer."""
    call = state.calls[data.call_id]
    if call.wants is not None:
        state.waiting -= 1
    call.wants = None
    call.asked = max(call.asked, data.number)
    if data.spent is not None:
        call.told = amount(data.spent)
    ask_granted(state, call, bound_of(data.lease))


def lease_recalled(state: RunState, data: ev.LeaseRecalled, _seq: int) -> None:
    """Children are asked, and perhaps the parent waits for what they say."""
    state.recalls = data.number
    if data.answering:
        state.answering = state.answered = data.answering
    for call_id in data.call_ids:
        state.calls[call_id].recall = data.number


def lease_taken_back(state: RunState, data: ev.LeaseTakenBack, _seq: int) -> None:
    """A child has answered."""
    call = state.calls[data.call_id]
    before = lent_to(call)
    call.back = amount(data.returned)
    call.told = amount(data.spent)
    state.account.lent = minus(state.account.lent, minus(before, lent_to(call)))
    if call.wants is not None and data.asked is not None and call.asked <= data.asked:
        call.wants = None  # it counted on what it has just given back, and asks anew
        state.waiting -= 1
    _answered(state, call)


def _answered(state: RunState, call: Call) -> None:
    """One answer fewer is missing; with the last of them children hold nothing that they do not need."""
    if call.recall:
        call.recall = 0
        state.drained = not any(other.recall for other in state.calls.values())


def step_ended(state: RunState, data: ev.StepCompleted | ev.StepFailed, seq: int) -> None:
    """A local step is over, requested or within the worker's lease."""
    call = state.calls.pop(data.call_id, None)
    if call is None:  # a requested step was counted when it was requested
        state.account.spend_step()
        remember_call(state, "", seq)
    state.model_calls += data.model is not None
    settle_call(state, call, data.usage, unreported="spent")
    if isinstance(data, ev.StepCompleted) and data.fingerprint:
        remember_output(state, data.fingerprint, seq)
    if state.step_wanted == data.call_id:
        state.step_wanted = None


def step_recalled(state: RunState, data: ev.StepRecalled, _seq: int) -> None:
    """A step of a fork has its source's result: nothing was used."""
    call = state.calls.pop(data.call_id, None)
    settle_call(state, call, None, unreported="free")
    if state.step_wanted == data.call_id:
        state.step_wanted = None


def step_requested(state: RunState, data: ev.StepRequested, seq: int) -> None:
    """A local step asks for allowance, perhaps again."""
    before = state.calls.get(data.call_id)
    again = before is not None and not before.unfunded
    if before is not None:  # another worker may have begun it and not told: what was held for that counts as spent
        settle_call(state, before, None, unreported="spent")
    call = Call(kind="step", seq=seq, sent=seq, name=data.name, attempt=data.attempt, reserve=reserved(data.reserve))
    if state.fork is not None:
        call.args_digest = data.asked
        call.stage = "tape" if data.held else "sent"
    state.calls[data.call_id] = call
    if requested(state, call, data.unfunded, again=again):
        state.step_wanted = data.call_id
    remember_call(state, "", seq)


def requested(state: RunState, call: Call, unfunded: bool, *, again: bool = False) -> bool:
    """Take from the budget what the call needs; False if it has to wait for it."""
    if call.stage == "tape":
        return False
    if unfunded:
        call.unfunded = True
        state.waiting += 1
        return False
    if not again:
        state.account.spend_step()
    state.account.hold(call.reserve)
    return True


def child_closed(state: RunState, data: ev.ChildCompleted | ev.ChildFailed, _seq: int) -> None:
    """A child ended, and the run carries its labels from now on."""
    call = state.calls.pop(data.call_id, None)
    if call is not None:
        child_settled(state, call, data.usage)
    if data.taint:
        state.taint = merged(state.taint, data.taint)


def input_digest(data: ev.ChildRequested) -> str:
    """What tells the inputs of children apart."""
    if data.input_ref is not UNSET:
        return data.input_ref.sha256
    return digest_of(b"" if data.input is UNSET else bytes(data.input))


def warned(state: RunState, data: ev.LimitWarning, _seq: int) -> None:
    """A warning is given once."""
    state.warned = (*state.warned, data.limit)


def deadline_near(state: RunState, _data: ev.DeadlineNear, _seq: int) -> None:
    """That warning is given once, too."""
    state.warned = (*state.warned, "deadline")


def escalated(state: RunState, data: ev.NoticeEscalated, _seq: int) -> None:
    """The next level of the ladder was told."""
    call = None if data.call_id is None else state.calls.get(data.call_id)
    if call is None:
        state.level = data.level
    else:
        call.level = data.level


def child_requested(state: RunState, data: ev.ChildRequested, seq: int) -> None:
    """A child is asked for: it is given its first lease, or waits."""
    call = Call(
        kind="child",
        seq=seq,
        sent=seq,
        stage="tape" if state.taped else "unsent" if state.paused else "sent",
        name=data.child_agent,
        child=data.child_run_id,
        args=UNSET if data.input is UNSET else data.input.copy(),
        args_ref=None if data.input_ref is UNSET else data.input_ref,
        budget=data.budget,
        due_at=data.deadline_at,
    )
    state.calls[data.call_id] = call
    if requested(state, call, data.unfunded):
        ask_granted(state, call, bound_of(data.lease))
    remember_call(state, call_print(data.child_agent, input_digest(data)), seq)
