"""The registry over a bus and a store in memory: announcements, replicas, losses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest

from tests.waiting import wait_until
from waypost_coordinator.registry import Registry
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.ports import Message
from waypost_io.store.memory import MemoryStore
from waypost_proto.codec import decode, encode
from waypost_proto.errors import Unreachable
from waypost_proto.registry import (
    LOST_AFTER_SECONDS,
    AgentDefinition,
    Announce,
    Announced,
    BreakerNews,
    GatewayNews,
    Heartbeat,
    ToolDefinition,
)
from waypost_proto.subjects import Subjects
from waypost_proto.values import Effect

SUBJECTS = Subjects("t")


class Site:
    """One broker and one store; as many replicas as a test wants, all on one clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.broker = MemoryBroker()
        self.store = MemoryStore(lambda: self.now)
        self.peer: MemoryBus
        self.new: list[str] = []
        self.lost: list[str] = []
        self.ended: list[tuple[str, str]] = []
        self.stack = AsyncExitStack()

    async def replica(self, *, listen: bool = True, store: MemoryStore | None = None) -> Registry:
        bus = await self.stack.enter_async_context(MemoryBus(self.broker))
        registry = Registry(store or self.store, bus, SUBJECTS, lambda: self.now)
        if listen:
            registry.listen(on_new_definition=self._new, on_lost=self._lost, on_build_ended=self.ended.extend)
        return await self.stack.enter_async_context(registry)

    def _new(self, names: Sequence[str]) -> None:
        self.new += names

    def _lost(self, workers: Sequence[str]) -> None:
        self.lost += workers

    async def announce(self, announce: Announce) -> Announced:
        answer = await self.peer.request(SUBJECTS.announce(), encode(announce))
        return decode(Announced, answer.body)

    async def beat(self, peer: str, **more: object) -> None:
        fields = {"kind": "worker", "build": "b1", "names": ["desk"], **more}
        self.peer.send(SUBJECTS.heartbeat(), encode(Heartbeat(peer=peer, **fields)))  # type: ignore[arg-type]
        await self.peer.flush()

    def pass_seconds(self, registry: Registry, seconds: float) -> None:
        """Time goes by while the registry sweeps as it does in life."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.5
            registry.sweep()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    async with site.stack:
        site.peer = await site.stack.enter_async_context(MemoryBus(site.broker))
        yield site


def worker(peer: str = "w-1", build: str = "b1", name: str = "desk") -> Announce:
    return Announce(peer=peer, kind="worker", build=build, agents=[AgentDefinition(name=name, build=build)])


def gateway(peer: str = "g-1", effect: Effect = Effect.READ) -> Announce:
    return Announce(peer=peer, kind="gateway", build="b1", tools=[ToolDefinition(name="mail", effect=effect)])


async def test_an_announcement_is_committed_before_it_is_answered(site: Site) -> None:
    registry = await site.replica()
    assert (await site.announce(worker())).ok
    assert [d.name for d in await site.store.definitions.agents()] == ["desk"]
    assert site.new == ["desk"]
    assert registry.live_workers("desk", "b1") == ("w-1",)
    assert registry.worker_alive("w-1")
    assert registry.agents["desk"].build == "b1"
    assert registry.agents["desk@b1"] is registry.agents["desk"]


async def test_a_refusal_says_why_and_nothing_of_it_is_taken(site: Site) -> None:
    registry = await site.replica()
    bad = worker(name="Desk!")
    answer = await site.announce(bad)
    assert not answer.ok
    assert "'Desk!'" in answer.error
    assert await site.store.definitions.agents() == []
    assert not registry.worker_alive("w-1")


async def test_two_gateways_cannot_disagree_about_an_effect(site: Site) -> None:
    registry = await site.replica()
    assert (await site.announce(gateway("g-1", Effect.UNSAFE))).ok
    answer = await site.announce(gateway("g-2", Effect.READ))
    assert not answer.ok
    assert "unsafe" in answer.error
    found = registry.tool("mail")
    assert found is not None
    assert found.effect is Effect.UNSAFE


async def test_while_the_store_is_away_there_is_no_answer_so_the_peer_asks_again(site: Site) -> None:
    class Away(MemoryStore):
        away = False

    store = Away(lambda: site.now)
    await site.replica(store=store)

    async def refuse(*_: object) -> None:
        raise Unreachable("Postgres is away")

    put = store.definitions.put
    store.definitions.put = refuse  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        await site.peer.request(SUBJECTS.announce(), encode(worker()), timeout_seconds=0.05)
    store.definitions.put = put  # type: ignore[method-assign]
    assert (await site.announce(worker())).ok


async def test_definitions_are_there_after_a_restart_without_any_peer(site: Site) -> None:
    await site.store.definitions.put([AgentDefinition(name="desk", build="b1")], [ToolDefinition(name="mail", effect=Effect.READ)])
    registry = await site.replica()
    entry = registry.agent("desk")
    assert entry is not None
    assert entry.current.build == "b1"
    assert registry.tool("mail") is not None
    assert [view.workers for view in registry.agent_views()] == [[]]
    assert [view.gateways for view in registry.tool_views()] == [[]]


async def test_another_replica_learns_of_a_definition_and_calls_back(site: Site) -> None:
    first = await site.replica(listen=False)
    second = await site.replica()
    running = [first.run(), second.run()]
    async with _tasks(running):
        assert (await site.announce(worker())).ok
        await wait_until(lambda: first.agent("desk") is not None and second.agent("desk") is not None)
        await wait_until(lambda: "desk" in site.new)


async def test_every_replica_sees_every_heartbeat(site: Site) -> None:
    replicas = [await site.replica(), await site.replica()]
    await site.beat("w-1")
    await wait_until(lambda: all(registry.worker_alive("w-1") for registry in replicas))


async def test_a_stopped_worker_is_lost_at_once_and_a_gateway_is_not_reported(site: Site) -> None:
    registry = await site.replica()
    await site.beat("w-1")
    await site.beat("g-1", kind="gateway", names=["mail"])
    await wait_until(lambda: registry.worker_alive("w-1") and registry.live_gateways("mail"))
    await site.beat("w-1", state="stopped")
    await site.beat("g-1", kind="gateway", state="stopped")
    await wait_until(lambda: not registry.live_gateways("mail"))
    assert site.lost == ["w-1"]


async def test_a_silent_worker_is_lost_in_its_time(site: Site) -> None:
    registry = await site.replica()
    await site.beat("w-1")
    await wait_until(lambda: registry.worker_alive("w-1"))
    site.pass_seconds(registry, LOST_AFTER_SECONDS - 0.5)
    assert site.lost == []
    site.pass_seconds(registry, 1.5)
    assert site.lost == ["w-1"]


async def test_an_expected_worker_counts_as_alive_until_its_time_is_up(site: Site) -> None:
    registry = await site.replica()
    registry.expect(["w-9"])
    assert registry.worker_alive("w-9")
    site.pass_seconds(registry, LOST_AFTER_SECONDS + 1.0)
    assert site.lost == ["w-9"]


async def test_an_expected_worker_that_is_gone_already_is_lost_at_once(site: Site) -> None:
    registry = await site.replica()
    await site.beat("w-9")
    await wait_until(lambda: registry.worker_alive("w-9"))
    await site.beat("w-9", state="stopped")
    await wait_until(lambda: site.lost == ["w-9"])
    registry.expect(["w-9"])
    assert site.lost == ["w-9", "w-9"]
    assert not registry.worker_alive("w-9")


async def test_a_replica_that_begins_to_listen_is_told_who_has_just_left(site: Site) -> None:
    """It would wait for their silence otherwise, when it takes over runs that they held."""
    await site.replica()
    await site.announce(worker("w-1"))
    await site.beat("w-1", state="stopped")
    await wait_until(lambda: site.lost == ["w-1"])
    late = await site.replica()
    await wait_until(lambda: late._peers.goodbyes() == [("w-1", "worker")])
    late.expect(["w-1"])
    assert site.lost == ["w-1", "w-1"]
    assert not late.worker_alive("w-1")


async def test_a_host_that_comes_back_is_news_although_its_definitions_are_not(site: Site) -> None:
    """Runs were held while nobody hosted the agent: they wait for exactly this."""
    registry = await site.replica()
    assert (await site.announce(worker("w-1"))).ok
    await site.beat("w-1", state="stopped")
    await wait_until(lambda: not registry.live_workers("desk"))
    site.new.clear()
    await site.beat("w-2")
    await wait_until(lambda: site.new == ["desk"])
    await site.beat("w-2")
    await site.beat("w-2", state="draining")
    await wait_until(lambda: not registry.live_workers("desk"))
    assert site.new == ["desk"], "neither a further heartbeat nor a drain is a new host"
    site.new.clear()
    assert (await site.announce(worker("w-3"))).ok
    assert site.new == ["desk"]
    await site.beat("w-4", names=["unknown"])
    await wait_until(lambda: registry.worker_alive("w-4"))
    assert site.new == ["desk"]


async def test_our_own_disconnection_costs_no_worker_its_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = await site.replica()
    await site.beat("w-1")
    await wait_until(lambda: registry.worker_alive("w-1"))
    bus = registry._bus
    with monkeypatch.context() as patch:
        patch.setattr(type(bus), "connected", property(lambda _self: False))
        site.pass_seconds(registry, 60.0)
    site.pass_seconds(registry, LOST_AFTER_SECONDS - 0.5)
    assert site.lost == []
    site.pass_seconds(registry, 1.5)
    assert site.lost == ["w-1"]


async def test_a_new_coordinator_calls_the_roll(site: Site) -> None:
    calls: list[Message] = []

    async def heard(message: Message) -> None:
        calls.append(message)

    await site.peer.subscribe(SUBJECTS.roll_call(), heard)
    await site.replica()
    await wait_until(lambda: calls)


async def test_the_build_of_living_workers_is_the_current_one(site: Site) -> None:
    registry = await site.replica()
    assert (await site.announce(worker("w-1", "b1"))).ok
    assert (await site.announce(worker("w-2", "b2"))).ok
    assert registry.agents["desk"].build == "b2"
    await site.beat("w-2", build="b2", state="stopped")
    await wait_until(lambda: registry.agents["desk"].build == "b1")
    assert registry.agents["desk@b2"].build == "b2"


async def test_rubbish_harms_nothing(site: Site) -> None:
    registry = await site.replica()
    site.peer.send(SUBJECTS.heartbeat(), b"\xff not json")
    answer = await site.peer.request(SUBJECTS.announce(), b"{")
    assert not decode(Announced, answer.body).ok
    await site.beat("w-1")
    await wait_until(lambda: registry.worker_alive("w-1"))


def _tasks(coroutines: Sequence[object]) -> AsyncExitStack:
    """Run these in the background while inside."""
    import asyncio

    stack = AsyncExitStack()
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]  # type: ignore[arg-type, call-overload]

    async def stop() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    stack.push_async_callback(stop)
    return stack


async def test_a_build_ends_with_its_last_worker(site: Site) -> None:
    registry = await site.replica()
    for peer, build in (("w-1", "b1"), ("w-2", "b1"), ("w-3", "b2")):
        assert (await site.announce(worker(peer, build))).ok
    (view,) = registry.agent_views()
    assert view.definition.build == "b2"
    assert [(found.build, found.workers) for found in view.builds] == [("b2", ["w-3"]), ("b1", ["w-1", "w-2"])]
    await site.beat("w-1", state="stopped")
    await wait_until(lambda: site.lost == ["w-1"])
    assert site.ended == []
    await site.beat("w-2", state="draining")
    await site.beat("w-2", state="stopped")
    await wait_until(lambda: site.lost == ["w-1", "w-2"])
    assert site.ended == [("desk", "b1")]
    assert [found.build for found in registry.agent_views()[0].builds] == ["b2"]


async def test_a_breaker_that_is_not_closed_is_shown_until_it_is(site: Site) -> None:
    registry = await site.replica()
    await site.announce(gateway())

    async def say(state: str, tool: str = "mail") -> str | None:
        news = BreakerNews(tool=tool, state=state, at=1.0, reason="5 of 5 calls failed")  # type: ignore[arg-type]
        site.peer.send(SUBJECTS.gateways(), encode(GatewayNews(gateway="g-1", tools=["mail"], breakers=[news])))
        await site.peer.flush()
        (view,) = registry.tool_views()
        return None if view.breaker is None else view.breaker.state

    assert await say("open") == "open"
    assert await say("half_open") == "half_open"
    assert await say("open", tool="nobody-knows") == "half_open"
    site.peer.send(SUBJECTS.gateways(), b"{")
    await site.peer.flush()
    assert await say("closed") is None
