"""One world per adapter: a server that several buses connect to, and what can happen to it.

world       names of this test on the session's NATS server, or on a broker in memory
own_world   a server of this test alone, which can be killed, restarted and wiped
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import nats as nats_client
import pytest
from nats.js.manager import JetStreamManager

from tests.waiting import wait_until
from waypost_io.bus.jetstream import BusTuning, JetStreamBus
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.ports import Bus, ConsumerSpec, StreamSpec
from waypost_io.servers import EmbeddedNats

QUICK = BusTuning(publish_timeout_seconds=3.0, pull_heartbeat_seconds=0.5, pull_expires_seconds=2.0)
"""Short intervals, so that what happens at their end happens in a test."""


@dataclass
class World:
    """A server seen through one adapter. Stream names and subjects begin with `prefix`, so tests do not meet."""

    make: Callable[[str], Bus]
    kind: str
    prefix: str = field(default_factory=lambda: f"c{uuid.uuid4().hex[:10]}")
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    server: EmbeddedNats | MemoryBroker | None = None

    async def bus(self, name: str = "test") -> Bus:
        """An open bus; it is closed at the end of the test."""
        return await self.stack.enter_async_context(cast("Any", self.make(name)))

    def stream(self, name: str = "S", **settings: Any) -> StreamSpec:
        given: dict[str, Any] = {
            "name": f"{self.prefix.upper()}_{name}",
            "subjects": (f"{self.prefix}.{name.lower()}.>",),
            "retention": "work_queue",
            "max_bytes": 64 << 20,
        }
        return StreamSpec(**{**given, **settings})

    def consumer(self, stream: StreamSpec, name: str = "c", **settings: Any) -> ConsumerSpec:
        given: dict[str, Any] = {"stream": stream.name, "name": name, "filter_subject": stream.subjects[0]}
        return ConsumerSpec(**{**given, **settings})

    def subject(self, rest: str, name: str = "S") -> str:
        return f"{self.prefix}.{name.lower()}.{rest}"

    async def count(self, stream: StreamSpec) -> int:
        """How many messages the stream holds now."""
        if isinstance(self.server, MemoryBroker):
            return len(self.server.streams[stream.name].messages)
        async with self._admin() as api:
            return (await api.stream_info(stream.name)).state.messages

    async def consumer_is_gone(self, stream: StreamSpec, name: str) -> bool:
        if isinstance(self.server, MemoryBroker):
            return name not in self.server.streams[stream.name].consumers
        async with self._admin() as api:
            return name not in [consumer.name for consumer in await api.consumers_info(stream.name)]

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[JetStreamManager]:
        """A connection of plain nats-py."""
        assert isinstance(self.server, EmbeddedNats)
        connection = await nats_client.connect(self.server.url, allow_reconnect=False)
        try:
            yield connection.jsm()
        finally:
            await connection.close()

    async def until_count(self, stream: StreamSpec, count: int) -> None:
        """Wait until it holds `count` messages: the server works acks off after it has answered a flush."""

        async def reached() -> bool:
            return await self.count(stream) == count

        await wait_until(reached, message=f"{count} messages in {stream.name}")

    # -- what happens to the server

    async def kill(self) -> None:
        if isinstance(self.server, EmbeddedNats):
            await self.server.kill()

    async def start(self) -> None:
        if isinstance(self.server, EmbeddedNats):
            await self.server.start()
        elif self.server is not None:
            self.server.restart()

    async def wipe_and_start(self) -> None:
        if isinstance(self.server, EmbeddedNats):
            await self.server.wipe()
            await self.server.start()
        elif self.server is not None:
            self.server.wipe()


ADAPTERS = ["memory", "jetstream"]


@pytest.fixture(params=ADAPTERS)
def shared_server(request: pytest.FixtureRequest) -> EmbeddedNats | MemoryBroker:
    """Not async: an async fixture cannot ask for another one by name."""
    return request.getfixturevalue("nats") if request.param == "jetstream" else MemoryBroker()


@pytest.fixture(params=ADAPTERS)
def own_server(request: pytest.FixtureRequest) -> EmbeddedNats | MemoryBroker:
    return request.getfixturevalue("own_nats") if request.param == "jetstream" else MemoryBroker()


def world_of(server: EmbeddedNats | MemoryBroker) -> World:
    if isinstance(server, MemoryBroker):
        return World(make=lambda name: MemoryBus(server, name=name), kind="memory", server=server)
    return World(make=lambda name: JetStreamBus(server.url, name=name, tuning=QUICK), kind="jetstream", server=server)


@pytest.fixture
async def world(shared_server: EmbeddedNats | MemoryBroker) -> AsyncIterator[World]:
    made = world_of(shared_server)
    async with made.stack:
        yield made
    if isinstance(shared_server, EmbeddedNats):
        await delete_streams(shared_server.url, made.prefix.upper())


@pytest.fixture
async def own_world(own_server: EmbeddedNats | MemoryBroker) -> AsyncIterator[World]:
    made = world_of(own_server)
    async with made.stack:
        yield made


async def delete_streams(url: str, prefix: str) -> None:
    connection = await nats_client.connect(url, allow_reconnect=False)
    try:
        for info in await connection.jsm().streams_info():
            if str(info.config.name).startswith(prefix):
                await connection.jsm().delete_stream(str(info.config.name))
    finally:
        await connection.close()
