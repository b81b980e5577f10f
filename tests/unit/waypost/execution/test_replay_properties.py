"""Replay equals live, for random programs and random interleavings (CORRECTNESS.md rows 5 and 18)."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.waypost.execution.world import RUN, CrashyWorld, Life, Step, World
from tests.unit.waypost_core.loop import programs
from waypost import Agent, ChildFailed, Context, StepFailed, ToolFailed, agent, tool
from waypost.execution import EffectResult, Execution, LocalEffect
from waypost_proto.codec import encode
from waypost_proto.work import Entry

# a `finally` block that gathers while it is being evicted leaves coroutines behind that never start
pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")


@tool(effect="read")
async def lookup(key: int) -> str:
    return str(key)


@agent
async def helper(ctx: Context, key: int) -> str:
    return str(key)


class RunApi:
    """A program's surroundings in a run: every way in which an agent's code can wait."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.trace: list[Any] = []

    async def ask(self, key: int) -> Any:
        try:
            if key % 4 == 0:
                return [await self.ctx.call(helper, key), self.ctx.random().random()]
            return [await self.ctx.call(lookup, key), str(self.ctx.uuid())]
        except (ToolFailed, ChildFailed) as error:
            return repr(error)

    async def step(self, key: int) -> Any:
        try:
            return await self.ctx.step(_effect, key, name=f"effect-{key}")
        except StepFailed as error:
            return repr(error)

    async def signal(self, key: int) -> Any:
        return await self.ctx.signal(f"s{key % 3}", int)

    def state(self, key: int) -> None:
        self.ctx.set_state({"key": key, "at": self.ctx.time()})


async def _effect(key: int) -> str:
    raise AssertionError("the test answers for it")


def agent_of(program: programs.Program) -> Agent[..., Any]:
    @agent(tools=[lookup], agents=[helper], name="random")
    async def body(ctx: Context) -> Any:
        api = RunApi(ctx)
        try:
            value = repr(await programs.run(program, api))
        except (programs.Oops, BaseExceptionGroup, asyncio.CancelledError) as error:
            value = repr(error)
        return [api.trace, value, ctx.time()]

    return body


def live(seed: int, depth: int = 3) -> tuple[Agent[..., Any], Life]:
    body = agent_of(programs.make(random.Random(seed), depth))
    return body, World(body, seed).live()


class Effects:
    """Collects what an execution wants to run."""

    def __init__(self) -> None:
        self.started: list[str] = []

    def __call__(self, effect: LocalEffect) -> None:
        self.started.append(effect.call_id)


def go_on(execution: Execution, steps: list[Step]) -> None:
    """Feed what the live run was fed, and compare every item."""
    for step in steps:
        if isinstance(step.fed, EffectResult):
            execution.finish_effect(step.fed)
        elif step.fed is not None:
            execution.feed([step.fed])
        assert [encode(item) for item in execution.take_items()] == step.items
        assert not execution.diverged


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_rows_5_and_18_replay_at_every_prefix_then_the_same_items(seed: int) -> None:
    body, life = live(seed)
    for cut in range(1, len(life.steps) + (0 if life.finished else 1)):
        done, rest = life.steps[:cut], life.steps[cut:]
        effects = Effects()
        execution = Execution(body, RUN, start_effect=effects)
        execution.replay(life.log[: done[-1].log_after], seen=done[-1].seen)
        assert execution.take_items() == []
        assert not execution.diverged
        assert execution.seen == done[-1].seen
        finished = {s.fed.call_id for s in done if isinstance(s.fed, EffectResult)}
        assert not finished.intersection(effects.started), "a recorded local step ran again"
        go_on(execution, rest)
        assert execution.finished is life.finished
        execution.close()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_an_advance_that_was_lost_comes_again(seed: int) -> None:
    """The log has outside events that no accepted advance has seen: replay asks for the rest, in the same words."""
    body, life = live(seed)
    for cut in range(1, len(life.steps)):
        done = life.steps[:cut]
        lost: list[Step] = []
        for step in life.steps[cut:]:
            if isinstance(step.fed, EffectResult):
                break
            lost.append(step)
        outside = [step.fed for step in lost if isinstance(step.fed, Entry)]
        if not outside:
            continue
        execution = Execution(body, RUN, start_effect=Effects())
        execution.replay([*life.log[: done[-1].log_after], *outside], seen=done[-1].seen)
        assert [encode(i) for i in execution.take_items()] == [item for step in lost for item in step.items]
        assert not execution.diverged
        execution.close()


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10**9), batch=st.integers(2, 5))
def test_feeding_many_at_once_or_twice_is_the_same(seed: int, batch: int) -> None:
    body, life = live(seed)
    execution = Execution(body, RUN, start_effect=Effects())
    wanted: list[bytes] = []
    got: list[bytes] = []
    waiting: list[Entry] = []
    for step in life.steps:
        wanted += step.items
        if isinstance(step.fed, Entry):
            waiting.append(step.fed)
        if len(waiting) == batch or isinstance(step.fed, EffectResult):
            execution.feed(waiting)
            execution.feed(waiting)
            waiting.clear()
        if isinstance(step.fed, EffectResult):
            execution.finish_effect(step.fed)
            execution.finish_effect(step.fed)
    execution.feed(waiting)
    got += [encode(item) for item in execution.take_items()]
    assert got == wanted
    execution.close()


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9), data=st.data())
def test_a_split_advance_of_which_only_the_beginning_arrived(seed: int, data: st.DataObject) -> None:
    """What the journal lacks of the last slice is asked for again, and nothing else."""
    body, life = live(seed)
    cuts = [n for n, s in enumerate(life.steps) if len(s.items) > 1 and s.log_after - s.log_before == len(s.items)]
    if not cuts:
        return
    at = data.draw(st.sampled_from(cuts))
    step = life.steps[at]
    kept = data.draw(st.integers(1 if isinstance(step.fed, EffectResult) else 0, len(step.items) - 1))
    execution = Execution(body, RUN, start_effect=Effects())
    execution.replay(life.log[: step.log_before + kept], seen=step.seen)
    assert not execution.diverged, execution.take_items()
    again = [encode(item) for item in execution.take_items()]
    assert set(again) <= set(step.items[kept:])
    execution.close()


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_a_worker_that_dies_all_the_time_loses_nothing_and_asks_for_nothing_twice(seed: int) -> None:
    """The recorder asserts that no command is issued and no step recorded twice; the end replays like any other run."""
    body = agent_of(programs.make(random.Random(seed), 3))
    world = CrashyWorld(body, seed)
    world.live()
    execution = Execution(body, RUN, start_effect=Effects())
    execution.replay(world.recorder.log, seen=world.recorder.seen)
    assert execution.take_items() == []
    assert not execution.diverged
    execution.close()


@pytest.mark.parametrize("seed", range(60))
def test_other_code_is_noticed_or_fits(seed: int) -> None:
    """Replaying another program never raises: it diverges with both sides in words, or asks for the same."""
    _, life = live(seed)
    other = agent_of(programs.make(random.Random(seed + 1), 3))
    execution = Execution(other, RUN, start_effect=Effects())
    execution.replay(life.log[: life.steps[-1].log_after], seen=life.steps[-1].seen)
    items = execution.take_items()
    if execution.diverged:
        (report,) = items
        assert report.expected
        assert report.found
    execution.close()
