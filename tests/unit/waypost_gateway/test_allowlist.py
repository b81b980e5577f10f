"""The cached allow-list: a yes from the cache, a no only from what was read after the question."""

from __future__ import annotations

import asyncio

import pytest

from waypost_gateway.allowlist import AllowList
from waypost_proto.errors import Unreachable
from waypost_proto.registry import AgentDefinition


class StubDefinitions:
    """Counts its readings; can be down."""

    def __init__(self, *definitions: AgentDefinition) -> None:
        self.definitions = list(definitions)
        self.readings = 0
        self.down = False

    async def agents(self) -> list[AgentDefinition]:
        await asyncio.sleep(0)
        if self.down:
            raise Unreachable("no database")
        self.readings += 1
        return self.definitions

    async def put(self, *_: object) -> None: ...
    async def tools(self) -> list[object]:
        return []


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 0.000_001
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def clerk(build: str, *tools: str) -> AgentDefinition:
    return AgentDefinition(name="clerk", build=build, tools=list(tools))


def allowlist(definitions: StubDefinitions, clock: Clock) -> AllowList:
    return AllowList(definitions, monotonic=clock, fresh_seconds=30.0, min_reload_seconds=0.0)  # type: ignore[arg-type]


async def test_a_yes_is_cached_until_it_is_old(clock: Clock) -> None:
    definitions = StubDefinitions(clerk("b1", "look"))
    allowed = allowlist(definitions, clock)
    assert not allowed.surely_allows("clerk", "look")
    assert await allowed.allows("clerk", "look")
    assert allowed.surely_allows("clerk", "look")
    assert await allowed.allows("clerk", "look")
    assert definitions.readings == 1
    clock.now += 31
    assert not allowed.surely_allows("clerk", "look")
    definitions.definitions = []
    assert not await allowed.allows("clerk", "look")
    assert definitions.readings == 2


async def test_a_no_is_never_cached(clock: Clock) -> None:
    definitions = StubDefinitions(clerk("b1", "look"))
    allowed = allowlist(definitions, clock)
    assert not await allowed.allows("clerk", "post")
    definitions.definitions.append(clerk("b2", "post"))
    assert await allowed.allows("clerk", "post")
    assert await allowed.allows("clerk", "look"), "listed by a build that may still run"


async def test_many_questions_share_one_reading(clock: Clock) -> None:
    definitions = StubDefinitions(clerk("b1", "look"))
    allowed = allowlist(definitions, clock)
    answers = await asyncio.gather(*(allowed.allows("clerk", "post") for _ in range(50)))
    assert not any(answers)
    assert definitions.readings <= 2


async def test_an_outage_keeps_an_old_yes_and_refuses_nothing(clock: Clock) -> None:
    definitions = StubDefinitions(clerk("b1", "look"))
    allowed = allowlist(definitions, clock)
    await allowed.allows("clerk", "look")
    clock.now += 31
    definitions.down = True
    assert await allowed.allows("clerk", "look")
    with pytest.raises(Unreachable):
        await allowed.allows("clerk", "post")


async def test_calls_that_arrive_while_an_old_list_is_read_again_share_that_reading(clock: Clock) -> None:
    """They were asked after the reading began; one of each `gather` used to wait for the next reading, a second later."""
    definitions = StubDefinitions(clerk("b1", "look", "put"))
    allowed = AllowList(definitions, monotonic=clock, fresh_seconds=30.0, min_reload_seconds=3600.0)  # type: ignore[arg-type]
    async with asyncio.timeout(30):
        assert await asyncio.gather(allowed.allows("clerk", "look"), allowed.allows("clerk", "put")) == [True, True]
    assert definitions.readings == 1
