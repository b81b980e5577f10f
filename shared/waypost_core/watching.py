"""What one advance asks of the budget and of the loop detection, item by item: on a copy of the books, before any event is applied.

Nothing is copied for a run without limits and without loop thresholds: then every question is answered at once.
"""

from __future__ import annotations

import msgspec

from waypost_core.budgets import (
    LIMIT_NAMES,
    ONE_STEP,
    UNBOUND,
    WARN_SHARE,
    Amount,
    Bound,
    fits,
    left,
    limited,
    limits_of,
    plus,
)
from waypost_core.leases import child_lease
from waypost_core.loops import call_loop, call_print, loop_limits, output_loop, remember_call, remember_output, stalled
from waypost_core.messages import Env
from waypost_core.state import RunState
from waypost_proto import events as ev
from waypost_proto.registry import AgentDefinition
from waypost_proto.values import Budget


class Watch:
    """The books and the memory of a run as they will be after the items so far. `found` is the first loop, if any."""

    def __init__(self, state: RunState, definition: AgentDefinition | None, running: int = 0) -> None:
        """`running`: local steps that run on at the worker, for each of which a part of its lease is in use."""
        self.found: ev.LoopDetected | None = None
        self._limited = limited(state)
        self._loops = loop_limits(definition, state.budget) if state.watched else None
        self._waits = state.waiting > 0
        self._running = running
        self._after = state
        if self._limited or self._loops is not None:
            self._after = msgspec.structs.replace(state, account=msgspec.structs.replace(state.account))

    # -- the budget

    def take(self, reserve: Amount, *, step: bool = True) -> bool:
        """Reserve `reserve` and a step (unless that was counted before). False if it does not fit, or if others wait: nobody overtakes."""
        if not self._limited:
            return True
        account, need = self._after.account, plus(ONE_STEP, reserve) if step else reserve
        steps, tokens, cost = left(self._after)
        leased = max(0, account.worker - self._running)
        if self._waits or not fits((None if steps is None else steps + leased, tokens, cost), need):
            self._waits = True
            return False
        if step:
            account.spend_step()
        account.hold(reserve)
        return True

    def spend(self) -> None:
        """A local step has been done within what its worker was leased."""
        if self._limited:
            self._after.account.spend_step()

    def lost(self, reserve: Amount) -> None:
        """A step was perhaps done by a worker that will not tell: what was held for it counts as spent."""
        if self._limited:
            self._after.account.settle(reserve, reserve)

    def lend(self, agent: str, budget: Budget | None, env: Env) -> Bound:
        """What a new child starts with."""
        if not self._limited:
            return UNBOUND
        lease = child_lease(self._after, agent, budget, env)
        account = self._after.account
        account.lent = plus(account.lent, (lease[0] or 0, lease[1] or 0, lease[2] or 0))
        return lease

    @property
    def look(self) -> bool:
        """Whether somebody waits, too much is spent, or a limit is near."""
        if not self._limited:
            return False
        if self._waits or any(b is not None and b < 0 for b in left(self._after)):
            return True
        taken, warned = self._after.account.taken, self._after.warned
        limits = zip(LIMIT_NAMES, limits_of(self._after.budget), taken, strict=True)
        return any(limit is not None and used >= WARN_SHARE * limit and name not in warned for name, limit, used in limits)

    # -- loops

    def called(self, name: str, digest: str, seq: int) -> None:
        """A call with these arguments is event number `seq`."""
        if self._loops is not None:
            remember_call(self._after, call_print(name, digest), seq)
            self._note(call_loop(self._after, self._loops, self._after.budget.max_repeats) or stalled(self._after, self._loops, seq))

    def worked(self, seq: int) -> None:
        """A step, of which no arguments are known."""
        if self._loops is not None:
            remember_call(self._after, "", seq)
            self._note(stalled(self._after, self._loops, seq))

    def put_out(self, fingerprint: str, seq: int) -> None:
        """A step said what its output looks like."""
        if self._loops is not None:
            remember_output(self._after, fingerprint, seq)
            self._note(output_loop(self._after, self._loops))

    def showed(self, value: msgspec.Raw) -> None:
        """The shown state is now `value`."""
        if self._loops is not None:
            before = self._after.shown
            if before is msgspec.UNSET or bytes(before) != bytes(value):
                self._after.stale = 0
            self._after.shown = value

    def _note(self, found: ev.LoopDetected | None) -> None:
        self.found = self.found or found


def circling(found: ev.LoopDetected, budget: Budget) -> list[ev.Data]:
    """The breaker for a run that goes in circles."""
    by_budget = found.kind == "same_call" and budget.max_repeats is not None and found.times > budget.max_repeats
    message = f"{found.message}; go on with `waypost runs resume RUN --instruction TEXT`, or cancel it"
    return [
        found,
        ev.BreakerTripped(
            limit="max_repeats" if by_budget else "loop",
            value=found.times,
            maximum=(budget.max_repeats or 0) if by_budget else found.times,
            message=message,
        ),
        ev.RunPaused(reason=found.message),
    ]
