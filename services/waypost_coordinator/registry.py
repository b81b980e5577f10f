"""The registry: who hosts what, and by which definitions the coordinator decides. Every replica runs one.

Owns the definitions (through the store) and the list of live peers (in memory). It never imports user code and decides
nothing about a run: it answers questions and calls back when an answer changes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self

import structlog

from waypost_coordinator.balance import Balance, Load
from waypost_coordinator.registry_book import AgentEntry, Book
from waypost_coordinator.registry_peers import Kind, Peer, Peers
from waypost_io.bus.ports import Bus, Message, Subscription
from waypost_io.store.ports import Store
from waypost_proto.api import AgentBuild, AgentView, ToolView
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadMessage, TransientError, WaypostError
from waypost_proto.registry import (
    LOST_AFTER_SECONDS,
    AgentDefinition,
    Announce,
    Announced,
    BreakerNews,
    GatewayNews,
    Heartbeat,
    Held,
    ToolDefinition,
)
from waypost_proto.subjects import Subjects

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 0.5
RELOAD_SECONDS = 1.0
"""Definitions are loaded again at most this often, however many unknown names or notes arrive."""
QUEUE = "coordinators"
"""Announcements go to one replica, which commits them and tells the others."""

OnNewDefinition = Callable[[Sequence[str]], None]
OnLost = Callable[[Sequence[str]], None]
OnBuildEnded = Callable[[Sequence[tuple[str, str]]], None]


class Registry:
    """Use as an async context manager (entering loads definitions, subscribes and calls the roll), then run `run()` in a task.

    `clock` is monotonic seconds. Questions are answered from memory and never wait.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        subjects: Subjects,
        clock: Callable[[], float] = time.monotonic,
        *,
        lost_after_seconds: float = LOST_AFTER_SECONDS,
        share: Callable[[], float] = lambda: 1.0,
    ) -> None:
        """`share` is the part of all runs that this replica owns."""
        self._store = store
        self._bus = bus
        self._subjects = subjects
        self._clock = clock
        self._book = Book()
        self._peers = Peers(lost_after_seconds)
        self._share = share
        self.balance = Balance()
        """Who lets runs go."""
        self._sweep_seconds = min(SWEEP_SECONDS, lost_after_seconds / 5)
        """Well below half of the silence that counts: sweeps further apart than that look like a stall of ours."""
        self._subscriptions: list[Subscription] = []
        self._reload_wanted = asyncio.Event()
        self._agents: dict[str, AgentDefinition] | None = None
        self._breakers: dict[str, BreakerNews] = {}
        """Of tools whose breakers are not closed, as a gateway last said."""
        self._on_new_definition: OnNewDefinition = _ignore
        self._on_lost: OnLost = _ignore
        self._on_build_ended: OnBuildEnded = _ignore

    def listen(self, *, on_new_definition: OnNewDefinition, on_lost: OnLost, on_build_ended: OnBuildEnded | None = None) -> None:
        """Set the callbacks; call before entering. They must not block or raise.

        `on_new_definition(names)`: these agents and tools are new or defined differently, on whatever replica that was
        announced, or a host has come (back) for them. `on_lost(worker_ids)`: these workers are gone; what they held must go elsewhere.
        `on_build_ended(pairs)`: nobody hosts these (agent, build) any more; what waits for any worker of one waits in vain.
        """
        self._on_build_ended = on_build_ended or _ignore
        self._on_new_definition = on_new_definition
        self._on_lost = on_lost

    async def __aenter__(self) -> Self:
        """Raises `Unreachable`."""
        self._bus.on_reconnect(self._peers.deaf)
        await self.reload()
        subjects = self._subjects
        self._subscriptions = [
            await self._bus.subscribe(subjects.heartbeat(), self.heartbeat),
            await self._bus.subscribe(subjects.definitions_changed(), self._changed_elsewhere),
            await self._bus.subscribe(subjects.gateways(), self.gateway_news),
            await self._bus.subscribe(subjects.announce(), self.announce, queue=QUEUE),
            await self._bus.subscribe(subjects.roll_call(), self._roll_called),
        ]
        self._bus.send(subjects.roll_call(), b"{}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.close()

    async def run(self) -> None:
        """Find the lost and load what other replicas announced, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep_forever())
            group.create_task(self._reload_forever())

    # -- questions

    @property
    def agents(self) -> dict[str, AgentDefinition]:
        """Every agent by name (its current build) and by `name@build`: what `Env.agents` takes. Not to be changed."""
        if self._agents is None:
            self._agents = self._agents_by_key()
        return self._agents

    @property
    def tools(self) -> dict[str, ToolDefinition]:
        """Every tool by name: what `Env.tools` takes. Not to be changed."""
        return self._book.tools()

    def agent(self, name: str) -> AgentEntry | None:
        """An agent's current definition and all its builds; None if nobody ever announced it."""
        entry = self._book.entry(name, lambda build: bool(self._peers.hosts("worker", name, build)))
        if entry is None:
            self._reload_wanted.set()
        return entry

    def tool(self, name: str) -> ToolDefinition | None:
        """A tool's definition; None if nobody ever announced it (it is looked up again soon, another replica may know)."""
        found = self._book.tools().get(name)
        if found is None:
            self._reload_wanted.set()
        return found

    def worker_alive(self, worker_id: str) -> bool:
        """Whether a worker was heard in time. One that was never heard is not alive, unless it is expected (see `expect`)."""
        return self._peers.get(worker_id) is not None

    def takes_work(self, worker_id: str) -> bool:
        """Whether a worker is alive and not on its way out."""
        peer = self._peers.get(worker_id)
        return peer is not None and not peer.draining

    def takes_frames(self, worker_id: str) -> bool:
        """Whether a worker takes several activations in one message."""
        peer = self._peers.get(worker_id)
        return peer is not None and peer.frames

    def worker_expected(self, worker_id: str) -> bool:
        """Whether a worker that holds a run of ours may still speak up (see `expect`)."""
        return self._peers.expected(worker_id)

    def live_workers(self, agent: str, build: str = "") -> Sequence[str]:
        """Workers that take new activations of an agent (of one build, if given), in order of their ids."""
        return self._peers.hosts("worker", agent, build)

    def build_lives(self, agent: str, build: str) -> bool:
        """Whether a worker of this build of an agent is alive, also one that is on its way out: it ends what it has taken up."""
        return self._peers.build_lives(agent, build)

    def live_gateways(self, tool: str) -> Sequence[str]:
        """Gateways that take calls of a tool, in order of their ids."""
        return self._peers.hosts("gateway", tool)

    def living(self, kind: Kind) -> int:
        """How many workers or gateways are alive and take new work."""
        return self._peers.living(kind)

    def held(self, worker_id: str) -> Sequence[Held]:
        """The activations that a worker says it has held for longer than one heartbeat."""
        peer = self._peers.get(worker_id)
        return peer.held if peer is not None else ()

    def expect(self, worker_ids: Iterable[str]) -> None:
        """After a take-over: these workers hold runs of ours. Those that stay silent are reported to `on_lost` in their time."""
        gone = self._peers.expect(worker_ids, self._clock())
        if gone:
            self._on_lost(gone)

    def agent_views(self) -> list[AgentView]:
        """For `agents.list`."""
        entries = (self.agent(name) for name in self._book.agents())
        return [
            AgentView(definition=entry.current, workers=list(self.live_workers(entry.current.name)), builds=self._live_builds(entry))
            for entry in entries
            if entry is not None
        ]

    def _live_builds(self, entry: AgentEntry) -> list[AgentBuild]:
        """Those that somebody hosts, the one committed last first."""
        found = ((build, self.live_workers(entry.current.name, build)) for build in reversed(entry.builds))
        return [AgentBuild(build=build, workers=list(workers)) for build, workers in found if workers]

    def tool_views(self) -> list[ToolView]:
        """For `tools.list`."""
        tools = self._book.tools()
        return [
            ToolView(definition=tools[name], gateways=list(self.live_gateways(name)), breaker=self._breakers.get(name))
            for name in sorted(tools)
        ]

    # -- what arrives

    async def announce(self, message: Message) -> None:
        """Commit what is new, then answer. Idempotent: repeating an announcement changes nothing."""
        try:
            announce = decode(Announce, message.body)
            await self._accept(announce)
        except TransientError as error:
            log.warning("announcement_not_committed", error=str(error))
            return  # no answer: the peer asks again; a refusal would be final
        except WaypostError as error:
            log.warning("announcement_refused", error=str(error), excerpt=message.body[:200].decode("utf-8", "replace"))
            answer = Announced(ok=False, error=str(error))
        else:
            answer = Announced(ok=True)
        if message.reply:
            self._bus.send(message.reply, encode(answer))

    async def _accept(self, announce: Announce) -> None:
        self._book.check(announce, lambda tool: self._peers.hosts("gateway", tool))
        agents, tools = self._book.news(announce)
        names: frozenset[str] = frozenset()
        if agents or tools:
            await self._store.definitions.put(agents, tools)
            names = self._book.committed(agents, tools)
            self._bus.send(self._subjects.definitions_changed(), encode(sorted(names)))
            log.info("definitions_committed", peer=announce.peer, build=announce.build, names=sorted(names))
        if self._peers.announced(announce, self._clock()):
            names |= self._hosted(announce.peer)
            log.info("peer_announced", peer=announce.peer, kind=announce.kind, build=announce.build)
        self._agents = None
        if names:
            self._on_new_definition(sorted(names))

    async def heartbeat(self, message: Message) -> None:
        """A peer lives. Idempotent."""
        try:
            beat = decode(Heartbeat, message.body)
        except BadMessage as error:
            log.warning("heartbeat_unreadable", error=str(error))
            return
        now = self._clock()
        if beat.state == "stopped":
            gone = self._peers.stopped(beat.peer, beat.kind, now)
            if gone is not None:
                self._lost([gone], why="stopped")
            return
        if self._peers.heard(beat, now):
            self._agents = None
            names = self._hosted(beat.peer)
            if names:
                self._on_new_definition(sorted(names))
        if beat.kind == "worker":
            self._balance(beat, now)
        if not all(self._book.knows(name) for name in beat.names):
            self._reload_wanted.set()  # the note about its definitions was lost, or is still on its way

    async def _roll_called(self, _message: Message) -> None:
        """Another replica begins to listen: tell it who has just left. The runs that those held may come to it, and it would wait for them
        until their silence counts."""
        for peer, kind in self._peers.goodbyes():
            self._bus.send(self._subjects.heartbeat(), encode(Heartbeat(peer=peer, kind=kind, build="", state="stopped")))

    async def gateway_news(self, message: Message) -> None:
        """Remember breakers that are not closed, to show them. Decides nothing."""
        try:
            news = decode(GatewayNews, message.body)
        except BadMessage as error:
            log.warning("gateway_news_unreadable", error=str(error))
            return
        for breaker in news.breakers:
            if breaker.state == "closed":
                self._breakers.pop(breaker.tool, None)
            elif breaker.tool in self._book.tools():
                self._breakers[breaker.tool] = breaker

    def _balance(self, beat: Heartbeat, now: float) -> None:
        if beat.state != "ready":
            self.balance.forget(beat.peer)
            return
        load = Load((beat.build, frozenset(beat.names)), beat.busy)
        leaving = self.balance.hear(beat.peer, load, share=self._share(), now=now)
        if leaving:
            log.info("worker_relieved", worker=beat.peer, busy=beat.busy, runs=leaving)

    async def _changed_elsewhere(self, _message: Message) -> None:
        self._reload_wanted.set()

    # -- what goes on by itself

    async def reload(self) -> None:
        """Load every definition from the store; call back for what is new or changed. Raises `Unreachable`."""
        agents = await self._store.definitions.agents()
        tools = await self._store.definitions.tools()
        changed = self._book.load(agents, tools)
        self._agents = None
        if changed:
            self._on_new_definition(sorted(changed))

    def sweep(self) -> None:
        """Report the workers that have been silent for too long. While we are disconnected nobody can be heard, so nobody is lost."""
        if not self._bus.connected:
            self._peers.deaf()
            return
        lost = self._peers.sweep(self._clock())
        if lost:
            self._lost(lost, why="silent")

    def _hosted(self, peer: str) -> frozenset[str]:
        """What a peer takes work for now and we know the definition of: a run may wait for exactly this host."""
        found = self._peers.get(peer)
        return frozenset() if found is None or found.draining else frozenset(name for name in found.names if self._book.knows(name))

    def _lost(self, peers: Sequence[Peer], *, why: str) -> None:
        self._agents = None
        for peer in peers:
            self.balance.forget(peer.peer)
            log.info("peer_lost", peer=peer.peer, kind=peer.kind, build=peer.build, why=why)
        workers = sorted(peer.peer for peer in peers if peer.kind == "worker")
        if workers:
            self._on_lost(workers)
        ended = {(name, peer.build) for peer in peers if peer.kind == "worker" for name in peer.names}
        ended = {(name, build) for name, build in ended if not self.live_workers(name, build)}
        if ended:
            self._on_build_ended(sorted(ended))

    async def _sweep_forever(self) -> None:
        while True:
            self.sweep()
            await asyncio.sleep(self._sweep_seconds)

    async def _reload_forever(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            try:
                await self.reload()
            except TransientError as error:
                log.warning("definitions_not_loaded", error=str(error))
                self._reload_wanted.set()
            await asyncio.sleep(RELOAD_SECONDS)

    def _agents_by_key(self) -> dict[str, AgentDefinition]:
        found: dict[str, AgentDefinition] = {}
        for name in self._book.agents():
            entry = self.agent(name)
            if entry is not None:
                found[name] = entry.current
                found.update({f"{name}@{build}": definition for build, definition in entry.builds.items()})
        return found


def _ignore(_names: Sequence[object]) -> None:
    """Nobody listens yet."""
