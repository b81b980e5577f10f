"""A call that is answered leaves nothing that only the cyclic garbage collector would free."""

from __future__ import annotations

from tests.collecting import left, without_collector
from tests.unit.waypost_gateway.rig import Desktop, Rig
from tests.waiting import wait_until
from waypost_proto.mailbox import ToolSucceeded

CALLS = 20
OF_A_CALL = ("MemoryDelivery", "Seat", "Task", "TimeLimit", "Work")


async def test_an_answered_call_is_free_at_once(rig: Rig) -> None:
    async with rig.gateway(Desktop()):

        async def some() -> None:
            calls = [rig.call("look") for _ in range(CALLS)]
            for call in calls:
                await rig.send(call)
            for call in calls:
                assert isinstance(await rig.answer(call), ToolSucceeded)

        await some()  # what is made once is there
        with without_collector():
            await some()
            await wait_until(lambda: not left(OF_A_CALL, CALLS // 2), message=lambda: f"left: {left(OF_A_CALL, CALLS // 2)}")
