"""What steps and tools say they have used and put out. Owns the meter of one step or call; adds nothing up.

async def ask_model(prompt: str) -> str:
    answer = await model(prompt)
    report(tokens=answer.tokens, cost_usd=answer.cost, output=answer.text)
    return answer.text

text = await ctx.step(ask_model, prompt, reserve=Usage(tokens=4_000, cost_usd="0.02"))
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal

from waypost_core.loops import fingerprint
from waypost_proto import usage as wire
from waypost_proto.errors import ContractError
from waypost_proto.models import ModelCall

Dollars = float | Decimal | str
"""US dollars. A float is taken by its decimal text, so that 0.1 is a tenth of a dollar; rounded up to a millionth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a call or step may use at most, or has used. Raises `ValueError` for negative amounts."""

    tokens: int = 0
    cost_usd: Dollars = 0

    def __post_init__(self) -> None:
        self.to_wire()

    def to_wire(self) -> wire.Usage:
        """As a command carries it: money in micro-dollars."""
        if isinstance(self.tokens, bool) or not isinstance(self.tokens, int) or self.tokens < 0:
            raise ValueError(f"tokens is {self.tokens!r}: give a whole number that is not negative")
        return wire.Usage(tokens=self.tokens, cost_micros=wire.micros_of(self.cost_usd))


class Meter:
    """Adds up what one step or one attempt of a call reports. Safe to use from the threads that it starts."""

    __slots__ = ("_cost_micros", "_lock", "_said", "_tokens", "fingerprint", "model")

    def __init__(self) -> None:
        self.fingerprint = ""
        """Of the last output that was reported."""
        self.model: ModelCall | None = None
        """What the step says of the model that it asked."""
        self._tokens = self._cost_micros = 0
        self._said = False
        self._lock = threading.Lock()

    def add(self, *, tokens: int = 0, cost_usd: Dollars = 0) -> None:
        """Report more use. Raises `ValueError` for negative amounts."""
        more = Usage(tokens=tokens, cost_usd=cost_usd).to_wire()
        with self._lock:
            self._said = True
            self._tokens += more.tokens
            self._cost_micros += more.cost_micros

    @property
    def usage(self) -> wire.Usage | None:
        """All that was reported; None if nothing was: what was reserved counts then."""
        return wire.Usage(tokens=self._tokens, cost_micros=self._cost_micros) if self._said else None


CURRENT: ContextVar[Meter | None] = ContextVar("waypost_meter", default=None)
"""The meter of the step or tool call that the current task or thread runs for."""


def report(*, tokens: int = 0, cost_usd: Dollars = 0, output: str | None = None) -> None:
    """Say what the running step or tool has used, and what it put out; may be called several times, amounts add up.

    `output` is compared with earlier ones to find an agent that repeats itself; only a short fingerprint leaves the process.
    Raises `ContractError` outside a step or tool call, `ValueError` for negative amounts.
    """
    meter = CURRENT.get()
    if meter is None:
        raise ContractError(
            "waypost.report(…) belongs into a function that ctx.step or a gateway runs: there is nothing to report for here"
        )
    if tokens or cost_usd or output is None:
        meter.add(tokens=tokens, cost_usd=cost_usd)
    if output is not None:
        meter.fingerprint = fingerprint(output)


__all__ = ["CURRENT", "Dollars", "Meter", "Usage", "report"]
