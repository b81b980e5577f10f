"""The arithmetic of budgets: what a run has spent, holds, has lent to its children, and may still use. Owns no decision.

    limits of the run itself (`Budget`)    a lease from its parent: given − returned
                     └──────────── bound: the smaller one ────────────┘
    taken = spent by itself + spent by children that ended
          + held for calls that are not settled + lent to open children + leased to its worker
    left  = bound − taken

Everything is an integer: steps, tokens, and micro-dollars. Amounts are plain tuples of the three in that order, because this runs for
every call; None stands for "no limit". What is lent counts as spent until the child has said what it used, what is held until the call
is settled: so the sum never passes the bound, whoever crashes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from waypost_proto.usage import Lease, Usage, micros_of, usd_of
from waypost_proto.values import Budget

if TYPE_CHECKING:
    from waypost_core.state import Call, RunState

Amount = tuple[int, int, int]
"""Steps, tokens, micro-dollars."""
Bound = tuple[int | None, int | None, int | None]
"""The same; None: not limited."""

NOTHING: Amount = (0, 0, 0)
ONE_STEP: Amount = (1, 0, 0)
UNBOUND: Bound = (None, None, None)
LIMIT_NAMES = ("max_steps", "max_tokens", "max_cost_usd")
WARN_SHARE = 0.8
"""A warning is given when so much of a limit is used."""
WARN_FROM_STEPS = 10
"""A limit of fewer steps gives no warning: it would come a step or two before the end."""
WORKER_STEPS_MOST = 16
"""How many local steps a worker may begin before it must ask: enough to make asking rare, few enough to leave room for others."""


class Account(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The books of one run; part of its state. `worker` are steps leased to the run's worker and not reported yet."""

    own: Amount = NOTHING
    below: Amount = NOTHING
    held: Amount = NOTHING
    lent: Amount = NOTHING
    worker: int = 0
    given: Bound = UNBOUND
    """By the parent, in total."""
    returned: Amount = NOTHING
    """To the parent, in total."""

    @property
    def spent(self) -> Amount:
        """What is surely used up: by the run, and by its children that ended."""
        return plus(self.own, self.below)

    @property
    def taken(self) -> Amount:
        """What nobody else may use."""
        own, below, held, lent = self.own, self.below, self.held, self.lent
        return (
            own[0] + below[0] + held[0] + lent[0] + self.worker,
            own[1] + below[1] + held[1] + lent[1],
            own[2] + below[2] + held[2] + lent[2],
        )

    # -- changes; each is what one event means

    def spend_step(self) -> None:
        """A step is asked for. It comes out of the worker's lease first: the worker has counted it there too."""
        self.own = (self.own[0] + 1, self.own[1], self.own[2])
        if self.worker:
            self.worker -= 1

    def hold(self, reserve: Amount) -> None:
        if reserve != NOTHING:
            self.held = plus(self.held, reserve)

    def settle(self, reserve: Amount, used: Amount) -> None:
        """What was held is free again, what was used is spent."""
        if reserve != NOTHING:
            self.held = minus(self.held, reserve)
        if used != NOTHING:
            self.own = plus(self.own, used)


def plus(a: Amount, b: Amount) -> Amount:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def minus(a: Amount, b: Amount) -> Amount:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def at_least(a: Amount, b: Amount) -> Amount:
    """The larger of each."""
    return (max(a[0], b[0]), max(a[1], b[1]), max(a[2], b[2]))


def amount(usage: Usage | None) -> Amount:
    return NOTHING if usage is None else (usage.steps, usage.tokens, usage.cost_micros)


def reserved(usage: Usage | None) -> Amount:
    """What a call reserves besides its step, which is spent when it is asked for."""
    return NOTHING if usage is None else (0, usage.tokens, usage.cost_micros)


def usage_of(what: Amount) -> Usage:
    """For the wire; what a mistake made negative is shown as nothing."""
    return Usage(steps=max(0, what[0]), tokens=max(0, what[1]), cost_micros=max(0, what[2]))


def bound_of(lease: Lease | None) -> Bound:
    return UNBOUND if lease is None else (lease.steps, lease.tokens, lease.cost_micros)


def lease_of(bound: Bound) -> Lease:
    """For the wire; what is overdrawn is shown as nothing."""
    steps, tokens, cost = (None if b is None else max(0, b) for b in bound)
    return Lease(steps=steps, tokens=tokens, cost_micros=cost)


@lru_cache(maxsize=4_096)
def limits_of(budget: Budget) -> Bound:
    """The limits of a budget that amounts are compared with."""
    cost = None if budget.max_cost_usd is None else micros_of(budget.max_cost_usd)
    return (budget.max_steps, budget.max_tokens, cost)


def limited(state: RunState) -> bool:
    """Whether anything bounds what the run uses."""
    return state.account.given != UNBOUND or limits_of(state.budget) != UNBOUND


def own_left(state: RunState) -> Bound:
    """What the run's own limits still allow."""
    return _rest(limits_of(state.budget), state.account.taken)


def lease_left(state: RunState) -> Bound:
    """What the parent's lease still allows."""
    account = state.account
    return UNBOUND if account.given == UNBOUND else _rest(account.given, plus(account.taken, account.returned))


def left(state: RunState) -> Bound:
    """What the run may still use: of both the smaller."""
    own, lease = own_left(state), lease_left(state)
    return own if lease == UNBOUND else (_least(own[0], lease[0]), _least(own[1], lease[1]), _least(own[2], lease[2]))


def fits(bound: Bound, need: Amount) -> bool:
    """Whether `need` is within what is left. What is not needed may be overdrawn."""
    return all(b is None or not n or n <= b for b, n in zip(bound, need, strict=True))


def missing(bound: Bound, need: Amount) -> Amount:
    """What is short of `need`, and by how much; what is overdrawn is short even if nothing of it is needed."""
    short = [0 if b is None else max(0, n - b) for b, n in zip(bound, need, strict=True)]
    return (short[0], short[1], short[2])


def need_of(call: Call) -> Amount:
    """What a call takes when it is funded."""
    return plus(ONE_STEP, call.reserve)


def net_lease(call: Call) -> Bound:
    """What a child holds now: given − returned."""
    return UNBOUND if call.lease == UNBOUND else _rest(call.lease, call.back)


def lent_to(call: Call) -> Amount:
    """The same as it counts at the parent: nothing where there is no limit."""
    steps, tokens, cost = net_lease(call)
    return (steps or 0, tokens or 0, cost or 0)


def known(state: RunState) -> Amount:
    """What the run and its children have used, as far as they have told."""
    total = state.account.spent
    for call in state.calls.values():
        if call.kind == "child" and call.told != NOTHING:
            total = plus(total, call.told)
    return total


def let_to_worker(state: RunState, *, sharing: bool) -> None:
    """What the run's worker may begin on its own: a quarter of what is left, none while others wait for it (`sharing`).

    While the worker has something to do its lease is only ever added to; at rest it holds nothing, because whatever comes next
    begins with an activation that says how much.
    """
    account = state.account
    if state.plays:
        account.worker = 0  # its worker asks before each step
    elif not state.wants_worker:
        account.worker = min(account.worker, state.running)
    elif not sharing:
        steps = left(state)[0]
        if steps is not None and steps > 0:
            share = min(WORKER_STEPS_MOST, max(1, (steps + account.worker) // 4))
            account.worker = max(account.worker, min(share, account.worker + steps))


def first_lease(state: RunState, cap: Bound = UNBOUND) -> Bound:
    """What a child starts with: half of what is left, at most what it may use itself. The rest is for its siblings and its parent; it
    asks for more when it needs it."""
    steps, tokens, cost = (None if b is None else max(0, b // 2) for b in left(state))
    return (_capped(steps, cap[0]), _capped(tokens, cap[1]), _capped(cost, cap[2]))


def shown(limit: str, value: float) -> float:
    """A value of a limit as people read it."""
    return usd_of(int(value)) if limit == "max_cost_usd" else float(value)


def _rest(bound: Bound, used: Amount) -> Bound:
    steps, tokens, cost = bound
    return (
        None if steps is None else steps - used[0],
        None if tokens is None else tokens - used[1],
        None if cost is None else cost - used[2],
    )


def _least(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else min(a, b)


def _capped(lease: int | None, cap: int | None) -> int | None:
    return lease if lease is None or cap is None else min(lease, cap)
