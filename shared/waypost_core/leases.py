"""Who gets what is left: calls and children that wait for budget, questions to the parent, and the breaker when nothing is left.

    own call or child's question does not fit
        ├─ a limit of the run itself is short   children give back what they do not need ─▶ still short: the breaker trips
        └─ the lease from the parent is short   the parent is asked ─▶ it gives, or asks further up, or trips for the whole tree

A lease is given in halves of what is left, so that a child asks a few times and not once a step; when it is scarce, what lies idle in
other branches is called back before anybody is stopped. Questions and answers are messages between runs (rows in the sender's commit);
they carry totals and numbers, so that a repeat or another order changes nothing. While a question is under way, what it is about counts
as spent at whoever holds it: nothing is ever counted twice as free.
"""

from __future__ import annotations

from waypost_core.budgets import (
    LIMIT_NAMES,
    NOTHING,
    UNBOUND,
    WARN_FROM_STEPS,
    WARN_SHARE,
    Amount,
    Bound,
    amount,
    bound_of,
    first_lease,
    fits,
    known,
    lease_left,
    lease_of,
    left,
    lent_to,
    limited,
    limits_of,
    missing,
    need_of,
    own_left,
    plus,
    shown,
    usage_of,
)
from waypost_core.decision import Decision
from waypost_core.evolve import copy_of, evolve
from waypost_core.messages import Env
from waypost_core.state import Call, RunState
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId
from waypost_proto.values import Budget


def lease_mail(state: RunState, message: mb.AnyLeaseMail) -> Decision:
    """What a message about leases means by itself; `follow_up` does the rest. Idempotent by its number, or by its total."""
    if state.terminal:
        return Decision()
    match message:
        case mb.AskLease():
            return Decision(events=_asked(state, message))
        case mb.GrantLease():
            return Decision(events=_granted(state, message))
        case mb.RecallLease():
            return Decision(events=_recalled(state, message))
        case mb.ReturnLease():
            return Decision(events=_returned(state, message))


def _asked(state: RunState, message: mb.AskLease) -> list[ev.Data]:
    call = state.calls.get(message.call_id)
    if call is None or call.child != message.child or message.number <= call.asked:
        return []
    return [
        ev.LeaseWanted(call_id=message.call_id, child_run_id=message.child, need=message.need, spent=message.spent, number=message.number)
    ]


def _granted(state: RunState, message: mb.GrantLease) -> list[ev.Data]:
    """Totals only grow: one that is not more than what we have is a repeat, or came late."""
    now, new = state.account.given, bound_of(message.lease)
    if all(n is None or (t is not None and t <= n) for n, t in zip(now, new, strict=True)):
        return []
    return [ev.LeaseReceived(lease=lease_of(_larger(now, new)))]


def _recalled(state: RunState, message: mb.RecallLease) -> list[ev.Data]:
    """Recorded with the question to our own children, which may be none."""
    if message.number <= state.answered:
        return []
    return [ev.LeaseRecalled(call_ids=_lent(state), number=state.recalls + 1, answering=message.number)]


def _returned(state: RunState, message: mb.ReturnLease) -> list[ev.Data]:
    call = state.calls.get(message.call_id)
    if call is None or call.child != message.child or call.recall != message.number:
        return []
    return [
        ev.LeaseTakenBack(
            call_id=message.call_id,
            child_run_id=message.child,
            returned=message.returned,
            spent=message.spent,
            number=message.number,
            asked=message.asked,
        )
    ]


# -- what follows from a decision


def follow_up(state: RunState, decision: Decision, env: Env) -> None:
    """Add to a decision what its events mean for those who wait for budget. Changes only the decision."""
    if not decision.events or not (decision.look or state.waiting or state.answering or _says(decision.events)):
        return
    after = copy_of(state)
    for data in decision.events:
        evolve(after, after.seq + 1, env.now, data)
    if not after.terminal and after.ending is None and (limited(after) or after.waiting):
        decision.events.extend(_Funding(after, env).events())


def _says(events: list[ev.Data]) -> bool:
    """Whether an event tells of use, or is about leases, or is a resume."""
    return any(isinstance(data, _LOOKED_AT) or getattr(data, "usage", None) is not None for data in events)


_LOOKED_AT = (ev.RunResumed, ev.LeaseReceived, ev.LeaseWanted, ev.LeaseTakenBack, ev.LeaseRecalled, ev.ChildCompleted, ev.ChildFailed)


class _Funding:
    """One pass over those who wait, on a state of its own that each event is applied to."""

    def __init__(self, state: RunState, env: Env) -> None:
        self.state = state
        self.env = env
        self._events: list[ev.Data] = []

    def events(self) -> list[ev.Data]:
        while self.state.waiting and self._fund_first():
            pass
        self._answer_parent()
        self._if_short()
        if not self.state.paused:
            self._events.extend(warnings(self.state))
        return self._events

    def _add(self, data: ev.Data) -> None:
        self._events.append(data)
        evolve(self.state, self.state.seq + 1, self.env.now, data)

    def _fund_first(self) -> bool:
        """Who has waited longest gets what it needs, if that is there; nobody overtakes."""
        state = self.state
        call_id, call = first_waiting(state)
        need = wanted_by(call)
        if not fits(left(state), need):
            return False
        if not call.unfunded:
            assert call.child is not None
            given = lease_of(_more(state, call, need))
            self._add(ev.LeaseGranted(call_id=call_id, child_run_id=call.child, lease=given, number=call.asked))
        elif call.kind == "child":
            probe = copy_of(state)
            probe.account.spend_step()
            self._add(ev.CallFunded(call_id=call_id, lease=lease_of(child_lease(probe, call.name, call.budget, self.env))))
        else:
            self._add(ev.CallFunded(call_id=call_id))
        return True

    def _answer_parent(self) -> None:
        """Give back what is free, once our own children have. What waits here asks again with all that it needs."""
        state = self.state
        if not state.answering or _pending(state):
            return
        free = usage_of(_finite(lease_left(state)))
        returned = plus(state.account.returned, amount(free))
        self._add(ev.LeaseReturned(returned=usage_of(returned), number=state.answering, asked=state.asks))

    def _if_short(self) -> None:
        state = self.state
        need = wanted_by(first_waiting(state)[1]) if state.waiting else NOTHING
        short = missing(own_left(state), need)
        if short != NOTHING:
            if state.paused or _pending(state):
                return
            idle = [] if state.drained else _lent(state)
            if idle:
                self._add(ev.LeaseRecalled(call_ids=idle, number=state.recalls + 1))
            else:
                for data in tripped(state, need, short):
                    self._add(data)
            return
        short = missing(lease_left(state), need)
        if short != NOTHING and not state.asking:
            self._add(ev.LeaseAsked(need=usage_of(short), number=state.asks + 1))


def first_waiting(state: RunState) -> tuple[CallId, Call]:
    """Who has waited longest."""
    waiting = ((call_id, call) for call_id, call in state.calls.items() if call.unfunded or call.wants is not None)
    return min(waiting, key=lambda pair: pair[1].seq)


def wanted_by(call: Call) -> Amount:
    """What a call, or a child's question, waits for."""
    return need_of(call) if call.unfunded else call.wants or NOTHING


def all_wanted(state: RunState) -> Amount:
    """What everything that waits needs together."""
    total = NOTHING
    for call in state.calls.values():
        if call.unfunded or call.wants is not None:
            total = plus(total, wanted_by(call))
    return total


def child_lease(state: RunState, agent: str, budget: Budget | None, env: Env) -> Bound:
    """What a child of `agent` starts with: never more than it may use by its own limits."""
    definition = env.agent(agent)
    own = definition.budget if definition is not None else None
    return first_lease(state, limits_of((own or Budget()).tightened_by(budget)))


def tripped(state: RunState, need: Amount, short: Amount) -> list[ev.Data]:
    """The breaker: which limit, how much is needed, and the pause."""
    index = next(i for i, amount_short in enumerate(short) if amount_short)
    name = LIMIT_NAMES[index]
    maximum = limits_of(state.budget)[index] or 0
    value = state.account.taken[index] + need[index]
    message = f"{_words(name, value)} of at most {shown(name, maximum):g}; raise the limit with `waypost runs resume RUN {OPTION[name]} N`"
    return [
        ev.BreakerTripped(limit=name, value=shown(name, value), maximum=shown(name, maximum), message=message),  # type: ignore[arg-type]
        ev.RunPaused(reason=f"{name} {shown(name, maximum):g} reached"),
    ]


def _words(name: str, value: int) -> str:
    if name == "max_steps":
        return f"step {value}"
    return f"{value} tokens" if name == "max_tokens" else f"{shown(name, value):g} US dollars"


OPTION = {"max_steps": "--max-steps", "max_tokens": "--max-tokens", "max_cost_usd": "--max-cost", "max_seconds": "--max-seconds"}
"""How the command line names a limit."""


def warnings(state: RunState) -> list[ev.Data]:
    """The first time that most of a limit is used: by the run, and by its children as far as they have told."""
    limits, taken = limits_of(state.budget), state.account.taken
    near = [
        i for i, limit in enumerate(limits) if limit is not None and taken[i] >= WARN_SHARE * limit and LIMIT_NAMES[i] not in state.warned
    ]
    if not near:
        return []
    used = plus(known(state), state.account.held)
    return [
        ev.LimitWarning(limit=LIMIT_NAMES[i], value=shown(LIMIT_NAMES[i], used[i]), maximum=shown(LIMIT_NAMES[i], limits[i] or 0))  # type: ignore[arg-type]
        for i in near
        if used[i] >= WARN_SHARE * (limits[i] or 0) and not (i == 0 and (limits[0] or 0) < WARN_FROM_STEPS)
    ]


def _more(state: RunState, call: Call, need: Amount) -> Bound:
    """What a child has been given in total after this: what it asks for, and while there is plenty a part of the rest."""
    children = sum(1 for other in state.calls.values() if other.kind == "child")
    new: list[int | None] = []
    for given, rest, asked in zip(call.lease, left(state), need, strict=True):
        if given is None:
            new.append(None)
        else:
            idle = 0 if rest is None or state.drained else max(0, rest - asked) // (2 * children)
            new.append(given + asked + (idle if asked else 0))
    return (new[0], new[1], new[2])


def _lent(state: RunState) -> list[CallId]:
    """Open children that hold a lease of something that is limited."""
    return [call_id for call_id, call in state.calls.items() if call.kind == "child" and call.binding and lent_to(call) != NOTHING]


def _pending(state: RunState) -> bool:
    return any(call.recall for call in state.calls.values())


def _finite(bound: Bound) -> Amount:
    return (max(0, bound[0] or 0), max(0, bound[1] or 0), max(0, bound[2] or 0))


def _larger(now: Bound, new: Bound) -> Bound:
    if now == UNBOUND:
        return now
    pairs = [None if n is None or t is None else max(n, t) for n, t in zip(now, new, strict=True)]
    return (pairs[0], pairs[1], pairs[2])
