"""`Client.stream` over the API's real endpoints and a bus in memory: what is shown, and in which order."""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import Raw

from tests.unit.waypost.test_client import completed, step
from tests.unit.waypost_coordinator.api.rig import Desk
from tests.waiting import wait_until
from waypost.client import Client
from waypost.streamed import Streamed
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_proto.codec import encode
from waypost_proto.streams import GraphEnded, GraphPart, GraphParts, GraphStarted
from waypost_proto.subjects import Subjects
from waypost_proto.values import Token


async def test_what_was_shown_before_the_end_is_given_out_before_it() -> None:
    """The log is read because of an earlier event, and has the end already, while the last pieces are still in the queue."""
    gate, asked = asyncio.Event(), 0
    gate.set()
    items: list[Streamed] = []
    async with MemoryBus(MemoryBroker()) as bus, Desk(bus) as desk, Client(prefix="t", bus=bus, patience_seconds=5.0) as client:
        call = client._requests.call

        async def gated(operation: str, *more: Any) -> Any:
            nonlocal asked
            asked += operation == "runs.events"
            await gate.wait()
            return await call(operation, *more)

        client._requests.call = gated  # type: ignore[method-assign]
        run_id = await desk.started()

        async def watch() -> None:
            async for item in client.stream(run_id):
                items.append(item)  # noqa: PERF401

        watching = asyncio.ensure_future(watch())
        await wait_until(lambda: asked == 1 and client._tails)
        gate.clear()
        await desk.play(run_id, step(1))
        await wait_until(lambda: asked == 2)
        for message in (
            GraphStarted(run_id=run_id, attempt="a", token=Token(1, 1)),
            GraphParts(run_id=run_id, attempt="a", seq=1, parts=[GraphPart(mode="updates", data=Raw(b'"the last"'))]),
            GraphEnded(run_id=run_id, attempt="a", seq=2),
        ):
            bus.send(Subjects("t").tokens(run_id), encode(message))
        await desk.play(run_id, completed())
        gate.set()
        await asyncio.wait_for(watching, 5)
    assert [item.kind for item in items] == ["graph_started", "graph", "ended"]
    assert items[1].data == Raw(b'"the last"')
