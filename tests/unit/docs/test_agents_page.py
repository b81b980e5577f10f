"""docs/agents.md: its code runs, and what it says about code that must not be written is so."""

from __future__ import annotations

import asyncio
import random
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Raw

from tests.unit.docs.pages import run_blocks, text_of
from waypost import Agent, Context, agent
from waypost.execution import Execution
from waypost_core.loop._loop import CALLBACKS_PER_FEED, REFUSALS
from waypost_io.settings import CoordinatorSettings
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.work import Entry
from waypost_worker.loop_watch import STUCK_SECONDS

PAGE = "agents.md"


@pytest.fixture(scope="module")
def page() -> Iterator[types.ModuleType]:
    """The page as a module: its blocks have run, its assertions with them."""
    module = run_blocks(PAGE)
    yield module
    sys.modules.pop(module.__name__, None)


def result_of(page: types.ModuleType, name: str, value: Any = None, **more: Any) -> Any:
    hosted = [page.stock, page.reserve, page.charge, page.buyer]
    end, _ = page.live(getattr(page, name), value, hosted=hosted, **more)
    assert isinstance(end, cmd.CompleteRun), end
    return __import__("json").loads(bytes(end.result))


def failure_of(agent_: Agent[..., Any], page: types.ModuleType) -> str:
    end, _ = page.live(agent_)
    assert isinstance(end, cmd.FailRun), end
    return end.error.type


def test_every_agent_of_the_page_lives_a_run(page: types.ModuleType) -> None:
    assert result_of(page, "dice", 6)["number"] in range(1, 7)
    assert result_of(page, "inventory", ["a", "b"]) == {"a": 3, "b": 3}
    assert result_of(page, "any_left", ["a"]) is True
    assert result_of(page, "patient", "a") == "there it is"
    assert result_of(page, "hasty", "a") == "3 left"
    assert result_of(page, "market", ["a", "b"]) == {"a": 3, "b": 3}
    assert result_of(page, "collector", signals=[("papers", {"count": 3})]) == 3
    assert result_of(page, "careful", page.Order(id="o", item="i", cents=5)) == "receipt-o-5"
    assert result_of(page, "robust", "a") == "3"


def test_what_the_page_says_is_caught_is_what_is_raised(page: types.ModuleType) -> None:
    @page.tool(effect="read", name="stock")
    async def broken(item: str) -> int:
        raise ConnectionError(item)

    end, _ = page.live(page.robust, "x", hosted=[broken])
    assert bytes(end.result) == b'"not even a number: ValueError"'


@agent
async def threads(ctx: Context) -> None:
    await asyncio.to_thread(print)


@agent
async def connects(ctx: Context) -> None:
    await asyncio.open_connection("127.0.0.1", 9)


@agent
async def spins(ctx: Context) -> None:
    while True:
        await asyncio.sleep(0)


@agent
async def steps_on_its_context(ctx: Context) -> str:
    async def inside() -> str:
        return str(await ctx.call(steps_on_its_context))

    return str(await ctx.step(inside))


@agent
async def gambles(ctx: Context) -> None:
    await ctx.signal(f"s{random.random()}")


@pytest.mark.parametrize(("wrong", "error"), [(threads, "NotInAgentCode"), (connects, "NotInAgentCode"), (spins, "AgentSpins")], ids=str)
def test_what_must_not_be_done_fails_as_the_page_says(page: types.ModuleType, wrong: Agent[..., Any], error: str) -> None:
    assert failure_of(wrong, page) == error
    assert error in text_of(PAGE)


async def test_a_context_does_not_work_inside_a_step(page: types.ModuleType) -> None:
    effects: list[Any] = []
    execution = Execution(steps_on_its_context, page.RUN, start_effect=effects.append)
    execution.feed([started()])
    with pytest.raises(Exception, match=r"outside the agent's own code") as caught:
        await effects[0].run()
    assert type(caught.value).__name__ == "ContractError"
    execution.close()


def test_randomness_in_the_code_is_found_by_replay(page: types.ModuleType) -> None:
    execution = Execution(gambles, page.RUN, start_effect=lambda _: None)
    execution.feed([started()])
    (wait,) = execution.take_items()
    assert isinstance(wait, cmd.AwaitSignal)
    journal = [started(), entry(2, ev.SignalAwaited(seen=1, call_id=wait.id, name=wait.name))]
    again = Execution(gambles, page.RUN, start_effect=lambda _: None)
    again.replay(journal, 1)
    assert again.diverged
    execution.close()


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    text = text_of(PAGE)
    assert f"after {CALLBACKS_PER_FEED:,} callbacks" in text
    assert f"told so {REFUSALS} times" in text
    assert f"After {STUCK_SECONDS:g} seconds" in text
    assert f"after {CoordinatorSettings().heartbeat_seconds:g} without a heartbeat" in text


def started() -> Entry:
    return entry(1, ev.RunStarted(input=Raw(b"null")))


def entry(seq: int, data: Any) -> Entry:
    return Entry(seq=seq, type=type(data).__struct_config__.tag, at=1000.0 + seq, data=Raw(encode(data)))
