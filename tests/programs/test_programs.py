"""A few hundred random programs on this Python, and what shows that the properties can fail."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.programs import leaves, worker
from tests.programs.campaign import Failed, run_batch
from tests.programs.hosts import Here
from tests.programs.properties import PROPERTIES, Tally
from tests.programs.tree import Program
from tests.programs.trouble import Crash, Troubles
from tests.programs.world import World

SEED = int(os.environ.get("PROGRAMS_SEED", "1"))
QUICK = {"crashes": 150, "storms": 150, "changes": 60}


@pytest.mark.parametrize("name", QUICK)
def test_random_programs(name: str) -> None:
    tally = Tally()
    run_batch(PROPERTIES[name], SEED, QUICK[name], [Here()], tally)
    assert {"run_completed", "run_cancelled", "run_failed"} <= set(tally.endings), tally
    assert tally.crashes > QUICK[name] / 3 or name == "changes", tally
    assert min(tally.diverged, tally.fitted) > QUICK[name] / 3 or name != "changes", tally


def test_a_printed_program_is_what_ran() -> None:
    program = Program(main=(leaves.Call("keep", takes=2), leaves.Step(takes=1, fails=1)), signals=((3, "a"),))
    assert program.describe() == SHOWN
    world = World(program).live()
    types = [event.type for event in world.root.log]
    assert types == ["run_started", "tool_call_requested", "tool_call_completed", "run_advanced", "step_failed", "run_completed"]
    assert b"StepFailed(RuntimeError)" in bytes(world.root.state.result or b"")


SHOWN = """\
@agent(tools=[look, keep], agents=[], name='main')
async def main(ctx: Context) -> list:
    told = []
    tell = lambda what: told.append([what, round(ctx.time() - began, 6)])
    began = ctx.time()
    try:
        tell(await ctx.call(keep, 1, takes=2))
        tell(await ctx.step(work, 2, 1, 1, name='work-2-1-1'))
    except Exception as error:
        tell(name_of(error))
    return told

# signals: 'a' at 3"""


def test_every_kind_of_crash_happens() -> None:
    program = Program(main=(leaves.Call(), leaves.Call()))
    for crash in Crash:
        troubles = Troubles([crash])
        World(program, troubles).live()
        assert troubles.crashes == (crash is not Crash.NONE), crash


def lose_the_last_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not report the last thing that its code asked for after a replay."""
    opened = worker.Slot._open

    def open_badly(self: worker.Slot, activation: object) -> None:
        opened(self, activation)  # type: ignore[arg-type]
        self._items = self._items[:-1]

    monkeypatch.setattr(worker.Slot, "_open", open_badly)


def see_another_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that asks the computer for the time."""
    ticks = iter(range(10**9))
    monkeypatch.setitem(leaves.DOINGS, "tasks", ("", "tell(ticks())"))
    monkeypatch.setattr("tests.programs.kit.ticks", lambda: next(ticks), raising=False)


@pytest.mark.parametrize("sabotage", [lose_the_last_item, see_another_clock])
def test_a_broken_worker_is_found_and_shrunk(sabotage: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage(monkeypatch)
    with pytest.raises(Failed, match=r"a life with crashes is another|forgotten|undisturbed|does not fit") as found:
        run_batch(PROPERTIES["crashes"], SEED, 200, [Here()], Tally())
    shown = str(found.value)
    assert "async def main(ctx: Context)" in shown
    assert len(shown.splitlines()) < 45, "it was not shrunk"
