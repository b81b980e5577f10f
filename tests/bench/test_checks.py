"""What budget and loop checks cost a call: shown, not judged by the clock of a busy machine."""

from __future__ import annotations

import timeit

from msgspec import Raw

from waypost_core.loops import fingerprint
from waypost_core.state import RunState
from waypost_core.watching import Watch
from waypost_proto.ids import RunId
from waypost_proto.registry import AgentDefinition
from waypost_proto.usage import LoopLimits
from waypost_proto.values import Budget

CALLS = 2_000
PLAIN = AgentDefinition(name="clerk", build="b1")
CHECKED = AgentDefinition(name="clerk", build="b1", loops=LoopLimits(same_call=0, cycle=9, no_progress=1_000_000, similar_outputs=0))
LIMITS = Budget(max_steps=10_000_000, max_tokens=10_000_000, max_cost_usd=1_000_000.0, max_repeats=1_000_000)


def state(budget: Budget, *, watched: bool) -> RunState:
    made = RunState(run_id=RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"), agent="clerk", budget=budget, watched=watched)
    made.shown = Raw(b"1")
    return made


def micros_per_call(budget: Budget, definition: AgentDefinition, *, watched: bool) -> float:
    """What one advance with one call asks of both: a copy of the books, the reservation, the digest, all four checks."""
    run, number = state(budget, watched=watched), 0

    def one() -> None:
        nonlocal number
        number += 1
        watch = Watch(run, definition)
        assert watch.take((0, 10, 100))
        watch.called("core-banking", f"{number % 20:064x}", number)
        assert watch.found is None
        assert not watch.look
        if watched:
            run.trail, run.trail_seqs = watch._after.trail, watch._after.trail_seqs

    return min(timeit.repeat(one, number=CALLS, repeat=5)) / CALLS * 1e6


def test_budget_and_loop_checks_are_microseconds_a_call() -> None:
    """Target: under 50 µs a call."""
    text = "The customer asked for a refund; I looked the order up and it was delivered on time. " * 10
    shown = {
        "nothing limited": micros_per_call(Budget(), PLAIN, watched=False),
        "all limits": micros_per_call(LIMITS, PLAIN, watched=False),
        "all limits and loops": micros_per_call(LIMITS, CHECKED, watched=True),
        "a fingerprint of 900 characters, at the worker": min(timeit.repeat(lambda: fingerprint(text), number=100, repeat=3)) / 100 * 1e6,
    }
    for what, micros in shown.items():
        print(f"{what:50} {micros:8.1f} µs")
    assert shown["nothing limited"] < shown["all limits and loops"], "what is not checked costs less than what is"
