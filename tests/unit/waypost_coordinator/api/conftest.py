"""A desk on a bus in memory, and somebody to ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

import pytest

from tests.unit.waypost_coordinator.api.rig import Desk
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.ports import Message
from waypost_io.payloads import answer_of
from waypost_proto.codec import decode, encode

A = TypeVar("A")


class Caller:
    """Asks endpoints of the desk as any client would."""

    def __init__(self, bus: MemoryBus, desk: Desk) -> None:
        self.bus = bus
        self.desk = desk

    async def raw(self, endpoint: str, body: bytes, headers: Mapping[str, str] | None = None) -> Message:
        """The answer as it came, errors included."""
        noun, _, verb = endpoint.partition(".")
        return await self.bus.request(self.desk.subjects.api(noun, verb), body, headers=headers)

    async def __call__(self, endpoint: str, request: Any, answer: type[A]) -> A:
        body = request if isinstance(request, bytes) else encode(request)
        return decode(answer, answer_of(await self.raw(endpoint, body)).body)


@pytest.fixture
async def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def desk(broker: MemoryBroker) -> AsyncIterator[Desk]:
    async with MemoryBus(broker) as bus, Desk(bus) as desk:
        yield desk


@pytest.fixture
async def ask(broker: MemoryBroker, desk: Desk) -> AsyncIterator[Caller]:
    async with MemoryBus(broker) as bus:
        yield Caller(bus, desk)
