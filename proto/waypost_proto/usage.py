"""What a run uses, and what it may use: amounts, leases, loop thresholds, the ladder of supervisors. Pure data.

Money is an integer number of micro-dollars (1,000,000 = one US dollar) wherever it is added or compared, so that a thousand calls of
0.0001 USD are 0.1 USD and not 0.09999999999999999. A limit as people write it (`max_cost_usd`) is a decimal number of dollars, and is
turned into micro-dollars through its decimal text.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal
from typing import Annotated

from msgspec import Meta

from waypost_proto.values import Count, Positive, Value

MICROS_PER_USD = 1_000_000
_LARGEST_USD = Decimal(9_000_000_000)
"""So that micro-dollars stay below 2**53 and survive a reader for which every number is a float."""


def micros_of(usd: float | Decimal | str) -> int:
    """Dollars as micro-dollars, rounded up: what is reserved is never less than what was said.

    Raises `ValueError` for what is not a finite amount from 0 to nine billion dollars.
    """
    amount = Decimal(str(usd))
    if not amount.is_finite() or not 0 <= amount <= _LARGEST_USD:
        raise ValueError(f"{usd!r} is not an amount of US dollars between 0 and {_LARGEST_USD}")
    return int((amount * MICROS_PER_USD).to_integral_value(ROUND_CEILING))


def usd_of(micros: int) -> float:
    """Micro-dollars as the nearest float of dollars: for showing, never for adding."""
    return float(Decimal(micros) / MICROS_PER_USD)


class Usage(Value, frozen=True, kw_only=True):
    """An amount of each thing that is counted."""

    steps: Count = 0
    tokens: Count = 0
    cost_micros: Count = 0


class Lease(Value, frozen=True, kw_only=True):
    """How much of each may be used; None: no limit. In messages between runs a lease is the total that was ever given, so a repeat is
    harmless and order does not matter."""

    steps: Count | None = None
    tokens: Count | None = None
    cost_micros: Count | None = None


class LoopLimits(Value, frozen=True, kw_only=True):
    """When a run counts as going in circles; 0 switches a check off. All look at the last 32 calls, or 8 outputs, since the last resume.

    `same_call`: the same tool (or agent) with the same arguments so many times. `cycle`: the same sequence of two to eight calls so many
    times in a row. `no_progress`: so many calls since the state that the run shows (`ctx.set_state`) last changed; a run that never
    shows a state is not checked. `similar_outputs`: so many near-identical outputs of steps that report theirs.
    """

    same_call: Count = 5
    cycle: Count = 3
    no_progress: Count = 30
    similar_outputs: Count = 3


class Rung(Value, frozen=True, kw_only=True):
    """One level of the ladder: who is told when a notice was not acted upon for `after_seconds` since the level below was told."""

    after_seconds: Positive
    to: Annotated[str, Meta(max_length=256)] = ""


__all__ = ["MICROS_PER_USD", "Lease", "LoopLimits", "Rung", "Usage", "micros_of", "usd_of"]
