"""The bus between simulated processes: `MemoryBus` behind connections that delay, lose, repeat, stall and break.

A connection keeps its order in each direction, as TCP does. A publish can be stored and its confirmation lost; an ack can be lost, and
then the message comes again after its ack wait; a core message can be lost. What a process had sent when it was killed arrives up to
some point and then no more. A message that reaches a paused process waits in its socket, where nobody else can have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.simulation.chance import Chance
from tests.simulation.deliveries import SimulatedPuller
from tests.simulation.futures import at_once, fail, settle
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.trace import Trace
from tests.simulation.trouble import Trouble
from waypost_io.bus.memory import MemoryBroker, MemoryBus, MemorySubscription
from waypost_io.bus.ports import Headers, Message, PubAck
from waypost_proto.errors import NotFound, PublishTimeout, Unreachable, WaypostError

PUBLISH_SECONDS = 5.0
"""How long a publisher waits for the confirmation."""
ADMIN_SECONDS = 5.0


class Network:
    """What all connections share. `published` is told of every stored message."""

    def __init__(self, loop: SimulatedLoop, broker: MemoryBroker, chance: Chance, trouble: Trouble, trace: Trace) -> None:
        self.loop = loop
        self.broker = broker
        self.chance = chance
        self.trouble = trouble
        self.trace = trace
        self.on_stored: Callable[[str, bytes, str | None], None] = lambda subject, body, msg_id: None
        self.connections: list[SimulatedBus] = []
        self.full = False
        """The disk is full: nothing is stored or made, and nobody gets an answer, until a restart (FACTS: even after space is freed)."""

    def latency(self) -> float:
        return self.chance.latency(0.0004, 1.5, self.trouble.slow_messages)

    def wipe(self) -> None:
        """The broker comes back on an empty disk."""
        self.full = False
        self.broker.wipe()

    def restart(self) -> None:
        self.full = False
        self.broker.restart()


class SimulatedBus(MemoryBus):
    """One process's connection. Make it in the process's own context."""

    def __init__(self, network: Network, process: Process) -> None:
        super().__init__(network.broker, name=process.name)
        self._network = network
        self.process = process
        self._up = self._down = 0.0
        self._cut_at: float | None = None
        self._pullers: list[SimulatedPuller] = []
        network.connections.append(self)
        process.at_death.append(self._die)

    # -- the wire

    def stall(self, seconds: float) -> None:
        """Nothing gets through for so long; it is not lost."""
        until = self._network.loop.now + seconds
        self.process.hindered = True
        self._up, self._down = max(self._up, until), max(self._down, until)

    def _go(self, callback: Callable[[], None]) -> None:
        """Process → broker, in order."""
        loop = self._network.loop
        self._up = max(self._up, loop.now + self._network.latency())
        loop.later(self._up - loop.now, self._arrive, self._up, callback)

    def _arrive(self, at: float, callback: Callable[[], None]) -> None:
        if self._cut_at is None or at <= self._cut_at:
            callback()

    def _come(self, callback: Callable[[], None]) -> None:
        """Broker → process, in order."""
        if self._cut_at is not None:
            return
        loop = self._network.loop
        self._down = max(self._down, loop.now + self._network.latency())
        loop.later(self._down - loop.now, self._hand_over, callback)

    def _hand_over(self, callback: Callable[[], None]) -> None:
        if self._cut_at is None:
            callback()

    def _die(self) -> None:
        """Killed: what is on the wire arrives up to some moment; the server notices the end of the connection."""
        chance = self._network.chance
        self._cut_at = self._network.loop.now + (0.0 if chance.hits(0.5) else chance.uniform(0.0, 0.003))
        self._network.loop.later(0.004, self._gone)

    def _gone(self) -> None:
        self.broker.leave(self)
        for resource in self._resources:
            if isinstance(resource, MemorySubscription):
                self.broker.unlisten(resource)
        for puller in self._pullers:
            puller.detach()
        if self in self._network.connections:
            self._network.connections.remove(self)

    async def __aexit__(self, *exc: object) -> None:
        await super().__aexit__(*exc)
        if self in self._network.connections:
            self._network.connections.remove(self)

    # -- publishing

    def publish(self, subject: str, body: bytes, *, headers: Headers | None = None, msg_id: str | None = None) -> Awaitable[PubAck]:
        self._server()
        network, loop = self._network, self._network.loop
        future: asyncio.Future[PubAck] = loop.create_future()
        try:
            message = self._message(subject, body, headers, "", msg_id)
        except WaypostError as error:
            loop.call_soon(fail, future, error)
            return future
        fate = network.trouble.publish_fate(network.chance)

        def arrive() -> None:
            if fate == "lost" or network.full:
                network.trace.strike("publish lost", self.process, subject, msg_id)
                return
            outcome: PubAck | WaypostError
            try:
                ack, _ = self.broker.route(message, msg_id)
                outcome = ack if ack is not None else NotFound(f"no stream takes {subject!r}")
                if ack is not None:
                    network.on_stored(subject, body, msg_id)
                    network.trace.add("stored", self.process, subject, msg_id, "again" if ack.duplicate else "")
            except WaypostError as error:
                outcome = error
            if fate == "unconfirmed":
                network.trace.strike("confirmation lost", self.process, subject, msg_id)
            else:
                self._come(lambda: settle(future, outcome))

        self._go(arrive)
        timer = loop.later(PUBLISH_SECONDS, fail, future, PublishTimeout(f"no confirmation for {subject!r} (simulated)"))
        future.add_done_callback(lambda _: timer.cancel(), context=loop.world.context)
        return future

    def send(self, subject: str, body: bytes, *, headers: Headers | None = None, reply: str = "") -> None:
        self._server()
        message = self._message(subject, body, headers, reply)
        if self._network.chance.hits(self._network.trouble.lost_core):
            self._network.trace.strike("core message lost", self.process, subject)
            return
        self._go(lambda: self._route(message))

    def _route(self, message: Message) -> None:
        self.broker.route(message)

    async def flush(self) -> None:
        await self._admin("flush", lambda: None)

    async def request(self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_seconds: float = 5.0) -> Message:
        self._server()
        answer: asyncio.Future[Message] = self._network.loop.create_future()
        inbox = self.new_inbox()

        async def answered(message: Message) -> None:
            if not answer.done():
                answer.set_result(message)

        subscription = SimulatedSubscription(self, inbox, "", answered)
        try:
            self._ask(Message(subject, body, dict(headers or {}), inbox), answer)
            async with asyncio.timeout(timeout_seconds):
                return await answer
        except TimeoutError:
            raise Unreachable(f"no answer on {subject!r} within {timeout_seconds:g} s (simulated)") from None
        finally:
            await subscription.close()

    def _ask(self, message: Message, answer: asyncio.Future[Message]) -> None:
        if self._network.chance.hits(self._network.trouble.lost_core):
            self._network.trace.strike("core message lost", self.process, message.subject)
            return

        def arrive() -> None:
            if not self.broker.route(message)[1]:
                self._come(lambda: fail(answer, Unreachable(f"nobody listens on {message.subject!r} (simulated)")))

        self._go(arrive)

    async def subscribe(self, subject: str, handler: Any, *, queue: str = "") -> MemorySubscription:
        self._server()
        subscription = SimulatedSubscription(self, subject, queue, handler)
        self._resources.append(subscription)
        return subscription

    # -- streams and consumers: a request to the server, which may be lost on either way

    async def ensure_stream(self, spec: Any) -> Any:
        return await self._admin("ensure_stream", super().ensure_stream, spec)

    async def stream_mark(self, name: str) -> Any:
        return await self._admin("stream_mark", super().stream_mark, name)

    async def purge(self, stream: str, subject: str | None = None) -> int:
        purged: int = await self._admin("purge", super().purge, stream, subject)
        return purged

    async def load(self, stream: str) -> Any:
        return await self._admin("load", super().load, stream)

    async def subjects(self, stream: str, subject: str) -> dict[str, int]:
        found: dict[str, int] = await self._admin("subjects", super().subjects, stream, subject)
        return found

    async def ensure_consumer(self, spec: Any) -> None:
        await self._admin("ensure_consumer", super().ensure_consumer, spec)

    async def consumer_created(self, stream: str, name: str) -> str | None:
        raise AssertionError(f"nobody asks for {stream}/{name} here: pools are not simulated")

    async def delete_consumer(self, stream: str, name: str) -> None:
        await self._admin("delete_consumer", super().delete_consumer, stream, name)

    async def _admin(self, what: str, call: Callable[..., Any], *args: Any) -> Any:
        network, loop = self._network, self._network.loop
        self._server()
        future: asyncio.Future[Any] = loop.create_future()
        fate = network.trouble.admin_fate(network.chance)

        def arrive() -> None:
            if fate == "lost" or (network.full and what.startswith("ensure")):
                network.trace.strike("request to the server lost", self.process, what)
                return
            try:
                outcome = at_once(call(*args))
            except WaypostError as error:
                outcome = error
            network.trace.add(what, self.process, *args)
            if fate != "unconfirmed":
                self._come(lambda: settle(future, outcome))

        self._go(arrive)
        timer = loop.later(ADMIN_SECONDS, fail, future, Unreachable(f"{what}: no answer (simulated)"))
        try:
            return await future
        finally:
            timer.cancel()

    def pull(self, stream: str, consumer: str, *, max_in_hand: int = 1_000, prefetch: bool = True) -> Any:
        puller = SimulatedPuller(self, stream, consumer, max_in_hand)
        self._pullers.append(puller)
        return puller


class SimulatedSubscription(MemorySubscription):
    """A core subscription at the other end of a connection."""

    def __init__(self, bus: SimulatedBus, subject: str, queue: str, handler: Any) -> None:
        self._bus = bus
        super().__init__(bus.broker, subject, queue, handler)

    def offer(self, message: Message) -> None:
        self._bus._come(lambda: super(SimulatedSubscription, self).offer(message))
