"""Raising limits: what a resume makes of them, and whether that is enough to go on."""

from __future__ import annotations

from decimal import Decimal

from waypost_core.budgets import LIMIT_NAMES, limits_of, plus, shown
from waypost_core.leases import OPTION, all_wanted
from waypost_core.state import RunState
from waypost_proto.errors import BadInput
from waypost_proto.values import Budget


def raised(now: Budget, new: Budget | None, extra: Budget | None) -> Budget | None:
    """The limits that change, as new values. Raises `BadInput` for an amount to add to a limit that is not set, or that is set anew."""
    if extra is None:
        return new
    limits = dict.fromkeys(Budget.__struct_fields__) if new is None else {f: getattr(new, f) for f in Budget.__struct_fields__}
    for name in Budget.__struct_fields__:
        more, base = getattr(extra, name), getattr(now, name)
        if more is None:
            continue
        if limits[name] is not None:
            raise BadInput(f"{name} is given both as a new value ({limits[name]}) and as an amount to add ({more}): give one of them")
        if base is None:
            raise BadInput(f"{name} is not limited: there is nothing to add {more} to; give a new value to set a limit")
        limits[name] = base + more if isinstance(base, int) else float(Decimal(str(base)) + Decimal(str(more)))
    return Budget(**limits)


def too_low(state: RunState, budget: Budget, now: float) -> str:
    """Why a run with these limits would stop again at once; "" if it would go on."""
    needed = plus(state.account.taken, all_wanted(state))
    for name, limit, need in zip(LIMIT_NAMES, limits_of(budget), needed, strict=True):
        if limit is not None and need > limit:
            amount, most = f"{shown(name, need):g}", f"{shown(name, limit):g}"
            return f"{amount} of {name} are used, reserved or asked for, and {name} is {most}: resume with {OPTION[name]} {amount} or more"
    age = now - state.started_at
    if budget.max_seconds is not None and age >= budget.max_seconds:
        return f"the run is {age:.0f} seconds old and max_seconds is {budget.max_seconds:g}: resume with a larger max_seconds"
    return ""
