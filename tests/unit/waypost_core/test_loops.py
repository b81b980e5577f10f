"""Runs that go in circles are found, say what repeats, and stop before the call that closes the circle; others are left alone."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tests.unit.waypost_core import machine
from tests.unit.waypost_core.machine import RUN, Machine, succeeded
from waypost_core import effects as fx
from waypost_core.loops import alike, fingerprint, loop_limits
from waypost_core.state import encode_state
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId
from waypost_proto.registry import AgentDefinition
from waypost_proto.usage import LoopLimits
from waypost_proto.values import Budget, RunStatus

NONE = LoopLimits(same_call=0, cycle=0, no_progress=0, similar_outputs=0)


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> LoopsOf:
    return LoopsOf(monkeypatch)


class LoopsOf:
    """Makes the machine's agent check for loops."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def __call__(self, limits: LoopLimits | None, *, budget: Budget | None = None) -> Machine:
        known = machine.AGENTS["clerk"]
        clerk = AgentDefinition(name="clerk", build="b1", tools=known.tools, agents=known.agents, loops=limits)
        self._monkeypatch.setitem(machine.AGENTS, "clerk", clerk)
        return Machine(budget=budget)


def call(run: Machine, argument: int, tool: str = "read") -> Machine:
    number = CallId(f"0:{run.the.seq}")
    run.advance(cmd.CallTool(seen=run.the.outside, id=number, tool=tool, args=Raw(str(argument).encode())))
    if not run.the.paused:
        run.tell(succeeded(number))
    return run


def found(run: Machine) -> ev.LoopDetected | None:
    return next((data for data in run.events if isinstance(data, ev.LoopDetected)), None)


def test_the_same_call_again_and_again(loops: LoopsOf) -> None:
    run = loops(LoopLimits(same_call=3, cycle=0))

    for _ in range(2):
        call(run, 7)
        call(run, 1_000 + run.the.seq)
    seqs = [seq for mark, seq in zip(run.the.trail, run.the.trail_seqs, strict=True) if mark == run.the.trail[0]]
    call(run, 7)
    loop = found(run)
    assert loop is not None
    assert (loop.kind, loop.times) == ("same_call", 3)
    assert loop.message == "read was called 3 times with the same arguments"
    assert loop.seqs[:2] == seqs
    assert run.log[loop.seqs[2] - 1].type == "tool_call_requested"
    assert run.types == ["tool_call_requested", "loop_detected", "breaker_tripped", "run_paused"]
    assert run.of(fx.SendTool) == []
    assert run.the.status is RunStatus.PAUSED


def test_after_a_resume_it_goes_on_exactly_there_and_begins_to_count_anew(loops: LoopsOf) -> None:
    run = loops(LoopLimits(same_call=2, cycle=0))
    call(call(run, 7), 7)
    run.tell(mb.Resume(run_id=RUN, request_id="r", instruction="look elsewhere"))
    assert run.types == ["run_resumed", "instruction_added"]
    assert len(run.of(fx.SendTool)) == 1, "the call that was held back goes out"
    assert run.the.trail == ()
    assert found(call(run, 7)) is None
    assert found(call(run, 7)) is not None


def test_a_cycle_of_calls(loops: LoopsOf) -> None:
    run = loops(LoopLimits(same_call=0, cycle=3))
    for turn in range(3):
        for argument in (1, 2, 3):
            assert found(run) is None, (turn, argument)
            call(run, argument, "safe" if argument == 2 else "read")
    loop = found(run)
    assert loop is not None
    assert (loop.kind, loop.times, len(loop.seqs)) == ("cycle", 3, 9)
    assert loop.message == "the calls read, safe, read were made 3 times in a row with the same arguments"


def test_work_that_moves_on_is_no_loop(loops: LoopsOf) -> None:
    run = loops(LoopLimits())
    for number in range(60):
        call(run, number)
        call(run, 1 if number % 10 == 0 else -number)
        assert not run.the.paused


def test_a_state_that_does_not_change(loops: LoopsOf) -> None:
    run = loops(LoopLimits(same_call=0, cycle=0, no_progress=4))
    for number in range(6):
        call(run, number)
    assert not run.the.paused, "it has never shown a state"
    run.advance(cmd.SetState(seen=run.the.outside, value=Raw(b'"reading"')))
    for number in range(3):
        call(run, number)
    run.advance(cmd.SetState(seen=run.the.outside, value=Raw(b'"writing"')))
    for number in range(4):
        assert not run.the.paused
        run.advance(cmd.SetState(seen=run.the.outside, value=Raw(b'"writing"')))
        call(run, number)
    loop = found(run)
    assert loop is not None
    assert (loop.kind, loop.times) == ("no_progress", 4)


def output(run: Machine, text: str) -> Machine:
    number = CallId(f"0:{run.the.seq}")
    return run.advance(cmd.FinishStep(seen=run.the.outside, id=number, name="model", at=1.0, fingerprint=fingerprint(text)))


LONG = "I will now look up the account of the customer and compare it with the list of sanctioned persons before I decide what to do"


def test_outputs_that_are_nearly_the_same(loops: LoopsOf) -> None:
    run = loops(LoopLimits(similar_outputs=3))
    output(run, f"{LONG}. Attempt 1 at 12:00")
    output(run, "Something else entirely, about the weather in the north")
    output(run, f"{LONG.upper()}!  attempt 23 at 12:07")
    assert not run.the.paused
    output(run, f"{LONG}. Attempt 4 at 9:15")
    loop = found(run)
    assert loop is not None
    assert (loop.kind, loop.times) == ("similar_outputs", 3)
    assert all(run.log[seq - 1].type == "step_completed" for seq in loop.seqs)


def test_the_budget_counts_repeats_also_of_plain_code(loops: LoopsOf) -> None:
    run = loops(None, budget=Budget(max_repeats=2))
    call(call(run, 7), 7)
    assert not run.the.paused
    call(run, 7)
    tripped = next(data for data in run.events if isinstance(data, ev.BreakerTripped))
    assert (tripped.limit, tripped.value, tripped.maximum) == ("max_repeats", 3, 2)


def test_more_repeats_than_are_remembered_are_counted_in_a_row(loops: LoopsOf) -> None:
    run = loops(None, budget=Budget(max_repeats=40))
    for _ in range(40):
        call(run, 7)
        assert not run.the.paused
    assert call(run, 7).the.paused


def test_plain_code_is_not_checked_unless_it_asks_for_it() -> None:
    plain = AgentDefinition(name="a", build="b")
    assert loop_limits(plain, Budget()) is None
    assert loop_limits(None, Budget()) is None
    assert loop_limits(AgentDefinition(name="a", build="b", kind="reasoning"), Budget()) == LoopLimits()
    assert loop_limits(AgentDefinition(name="a", build="b", kind="reasoning", loops=NONE), Budget()) is None
    assert loop_limits(AgentDefinition(name="a", build="b", loops=LoopLimits(cycle=7)), Budget()) == LoopLimits(cycle=7)


def test_the_memory_does_not_grow(loops: LoopsOf) -> None:
    run = loops(NONE)
    for number in range(60):
        call(run, number)
        output(run, f"{number} {LONG}")
    size = len(encode_state(run.the))
    for number in range(60, 160):
        call(run, number)
        output(run, f"{number} {LONG}")
    assert len(encode_state(run.the)) < size + 200


def test_numbers_ids_case_and_spaces_do_not_count() -> None:
    one = fingerprint("Order 1234 of 0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55 was NOT found, trying again")
    other = fingerprint("order 99   of 77777777-7a3e-7c21-8f00-3b1d6a9c4e55 was not found; trying again!")
    assert one == other
    assert len(one) == 16
    assert fingerprint("  12 !! ") != fingerprint("")


def test_a_few_words_more_are_alike_and_other_words_are_not() -> None:
    assert alike(fingerprint(f"{LONG} with the case. " * 4), fingerprint(f"{LONG} with the case. " * 4 + "Really."))
    assert not alike(
        fingerprint(LONG), fingerprint("The report was filed with the regulator and the case is closed now, thank you for waiting")
    )


@given(st.text(max_size=300))
def test_a_fingerprint_is_total_and_stable(text: str) -> None:
    assert fingerprint(text) == fingerprint(text)
    assert alike(fingerprint(text), fingerprint(text))


@given(st.text(max_size=20), st.text(max_size=20))
def test_fingerprints_of_another_form_are_compared_as_they_are(one: str, other: str) -> None:
    assert alike(one, other) in (True, False)
    assert alike(one, one)


def test_a_fingerprint_is_the_majority_of_each_bit() -> None:
    for size in (1, 2, 3, 4, 9, 60):
        words = [f"word{chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(size)]
        groups = {" ".join(words[i : i + 3]) for i in range(max(1, size - 2))}
        numbers = [int.from_bytes(blake2b(group.encode(), digest_size=8).digest(), "big") for group in groups]
        plain = sum(1 << bit for bit in range(64) if sum(number >> bit & 1 for number in numbers) > len(groups) / 2)
        assert fingerprint(" ".join(words)) == f"{plain:016x}"
