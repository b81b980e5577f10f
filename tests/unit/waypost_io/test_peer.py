"""A peer's place in the registry, opposite a scripted one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.waiting import wait_until
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.ports import Message
from waypost_io.peer import Peer
from waypost_proto.codec import decode, encode
from waypost_proto.errors import Denied
from waypost_proto.ids import RunId
from waypost_proto.registry import AgentDefinition, Announce, Announced, Heartbeat, Held
from waypost_proto.subjects import Subjects
from waypost_proto.values import Token

SUBJECTS = Subjects()
ANNOUNCE = Announce(peer="w1", kind="worker", build="b1", agents=[AgentDefinition(name="works", build="b1")])
RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")


class Registry:
    """Answers announcements as told, and keeps what it heard."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.answers: list[bytes] = []
        self.announced: list[Announce] = []
        self.beats: list[Heartbeat] = []

    async def open(self) -> None:
        await self.bus.subscribe(SUBJECTS.announce(), self._announce)
        await self.bus.subscribe(SUBJECTS.heartbeat(), self._beat)

    async def _announce(self, message: Message) -> None:
        self.announced.append(decode(Announce, message.body))
        answer = self.answers.pop(0) if self.answers else encode(Announced(ok=True))
        self.bus.send(message.reply, answer)

    async def _beat(self, message: Message) -> None:
        self.beats.append(decode(Heartbeat, message.body))


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBus(MemoryBroker()) as bus:
        yield bus


@pytest.fixture
async def registry(bus: MemoryBus) -> Registry:
    registry = Registry(bus)
    await registry.open()
    return registry


def peer_on(bus: Any, held: list[Held] | None = None) -> Peer:
    return Peer(bus, SUBJECTS, ANNOUNCE, held=lambda: held or [])


async def test_it_announces_and_beats_with_what_it_holds(bus: MemoryBus, registry: Registry) -> None:
    held = [Held(run_id=RUN, token=Token(epoch=1, counter=2))]
    async with peer_on(bus, held) as peer:
        await asyncio.wait_for(peer.announced(), 5)
        assert peer.is_announced
        await wait_until(lambda: registry.beats)
    assert registry.announced == [ANNOUNCE]
    assert registry.beats[0] == Heartbeat(peer="w1", kind="worker", build="b1", names=["works"], held=held)


async def test_it_waits_for_a_coordinator(bus: MemoryBus) -> None:
    async with peer_on(bus) as peer:
        waiting = asyncio.ensure_future(peer.announced())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        registry = Registry(bus)
        await registry.open()
        await asyncio.wait_for(waiting, 5)


async def test_an_answer_that_makes_no_sense_is_asked_for_again(bus: MemoryBus, registry: Registry) -> None:
    registry.answers = [b"not JSON", b"{}"]
    async with peer_on(bus) as peer:
        await asyncio.wait_for(peer.announced(), 5)
    assert len(registry.announced) == 3


async def test_a_refusal_names_what_and_why_and_is_not_repeated(bus: MemoryBus, registry: Registry) -> None:
    registry.answers = [encode(Announced(ok=False, error="its schema changed"))]
    async with peer_on(bus) as peer:
        with pytest.raises(Denied, match=r"worker w1 \(works\): its schema changed"):
            await asyncio.wait_for(peer.announced(), 5)
        assert not peer.is_announced
    assert len(registry.announced) == 1


async def test_it_answers_a_roll_call_and_a_reconnect(bus: MemoryBus, registry: Registry) -> None:
    async with peer_on(bus) as peer:
        await asyncio.wait_for(peer.announced(), 5)
        bus.send(SUBJECTS.roll_call(), b"")
        await wait_until(lambda: len(registry.announced) == 2)
        bus.broker.restart()
        await wait_until(lambda: len(registry.announced) == 3)


async def test_what_it_says_of_itself_changes_at_once(bus: MemoryBus, registry: Registry) -> None:
    async with peer_on(bus) as peer:
        await wait_until(lambda: registry.beats)
        peer.set_state("draining")
        await wait_until(lambda: registry.beats[-1].state == "draining")
    await wait_until(lambda: registry.beats[-1].state == "stopped")
    await peer.__aexit__()
    assert [beat.state for beat in registry.beats] == ["ready", "draining", "stopped"]
