"""Whatever a tool's code raises is an ending of its call, never of the gateway."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from waypost import ToolContext, tool
from waypost_gateway.classify import Raised
from waypost_gateway.execution import execute
from waypost_gateway.failures import Scrubber
from waypost_gateway.inflight import Work
from waypost_io.bus.ports import Delivery

SCRUB = Scrubber({})


class Odd(BaseException):
    """Not an `Exception`, as a tool's library may define one."""


def work() -> Work:
    """A call in hand; running its code touches none of its messages."""
    return Work(cast("Delivery", None))


@pytest.mark.parametrize("kind", [Odd, KeyboardInterrupt, GeneratorExit, SystemExit, StopAsyncIteration])
async def test_what_a_tool_raises_is_data(kind: type[BaseException]) -> None:
    async def code() -> None:
        raise kind("so be it")

    _, ending = await execute(code, seconds=5, work=work(), scrub=SCRUB)
    assert isinstance(ending, Raised)
    assert (ending.failure.type, ending.failure.message) == (kind.__name__, "so be it")


async def test_a_plain_function_that_raises_stop_iteration_does_not_wait_for_its_time_limit() -> None:
    @tool(effect="read")
    def first(values: list[int]) -> int:
        return next(iter(values))

    async with asyncio.timeout(30):
        _, ending = await execute(lambda: first.invoke(ToolContext(), b'{"values":[]}'), seconds=60, work=work(), scrub=SCRUB)
    assert isinstance(ending, Raised)
    assert ending.failure.message == "first raised StopIteration"


async def test_a_call_that_is_closed_from_outside_gives_no_answer() -> None:
    """The event loop went away under it: the exit is passed on, and nothing is awaited any more."""
    began = asyncio.Event()

    async def code() -> None:
        began.set()
        await asyncio.Event().wait()

    handling = execute(code, seconds=60, work=work(), scrub=SCRUB)

    async def drive() -> None:
        handling.send(None)

    await asyncio.create_task(drive())
    assert began.is_set()
    handling.close()
    assert handling.cr_frame is None
