"""What waits for agents and tools, on a bus in memory."""

from __future__ import annotations

import pytest

from tests.unit.waypost_coordinator.api.conftest import Caller
from tests.unit.waypost_coordinator.api.rig import Desk
from waypost_coordinator.api.queues import Lying
from waypost_coordinator.callers import Caller as Who
from waypost_io.bus.memory import MemoryBus
from waypost_io.bus.ports import ConsumerLoad, StreamLoad
from waypost_io.bus.topology import stream_specs, tool_consumer, work_consumer
from waypost_proto.api import AgentPage, AgentView, NameList, QueueView, ToolPage, ToolView
from waypost_proto.errors import Unreachable
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.subjects import Subjects
from waypost_proto.values import Effect

SUBJECTS = Subjects("t")


def load(subject: str, pending: int, unacked: int) -> ConsumerLoad:
    return ConsumerLoad(name="c", filter_subject=subject, pending=pending, unacked=unacked)


def view(kind: str, name: str, pending: int = 0, unacked: int = 0) -> QueueView:
    return QueueView(kind=kind, name=name, pending=pending, unacked=unacked)  # type: ignore[arg-type]


def test_the_queues_of_an_agent() -> None:
    consumers = [
        load(SUBJECTS.work("desk", "b1"), 3, 2),
        load(SUBJECTS.work("desk", "b2"), 0, 0),
        load(SUBJECTS.work("desk-two", "b1"), 9, 9),
        load(SUBJECTS.work("*", "*", "w-1"), 1, 4),
    ]
    messages = {SUBJECTS.work("desk", "b1"): 5, SUBJECTS.work("desk", "b0"): 7, SUBJECTS.work("desk", "b1", "w-1"): 5}
    lying = Lying({each.filter_subject: each for each in consumers}, messages)
    assert lying.of_agent(SUBJECTS, "desk", ["w-1", "w-2"]) == [
        view("build", "b0", 7),  # nobody takes from it any more
        view("build", "b1", 3, 2),
        view("build", "b2"),
        view("worker", "w-1", 1, 4),
        view("worker", "w-2"),
    ]
    assert lying.of_agent(SUBJECTS, "nobody", []) == []


def test_the_queue_of_a_tool_that_nobody_hosts() -> None:
    lying = Lying({SUBJECTS.tool("mail"): load(SUBJECTS.tool("mail"), 2, 1)}, {SUBJECTS.tool("fax"): 4})
    assert [lying.of_tool(SUBJECTS, tool) for tool in ("mail", "fax", "telex")] == [
        view("tool", "mail", 2, 1),
        view("tool", "fax", 4),
        view("tool", "telex"),
    ]


async def filled(desk: Desk, bus: MemoryBus) -> None:
    """One agent and two tools, with messages for them."""
    desk.hosts.agents = [AgentView(definition=AgentDefinition(name="desk", build="b1"), workers=["w-1"])]
    desk.hosts.tools = [ToolView(definition=ToolDefinition(name=name, effect=Effect.READ)) for name in ("fax", "mail")]
    for spec in stream_specs(SUBJECTS, partitions=1):
        await bus.ensure_stream(spec)
    for consumer in (work_consumer(SUBJECTS, "desk", "b1"), tool_consumer(SUBJECTS, "mail")):
        await bus.ensure_consumer(consumer)
    for number, subject in enumerate([SUBJECTS.work("desk", "b1"), SUBJECTS.tool("mail"), SUBJECTS.tool("mail"), SUBJECTS.tool("fax")]):
        await bus.publish(subject, b"{}", msg_id=str(number))


async def test_what_waits_is_told_when_it_is_asked_for(desk: Desk, ask: Caller) -> None:
    await filled(desk, ask.bus)
    puller = ask.bus.pull(SUBJECTS.stream("TOOLS"), tool_consumer(SUBJECTS, "mail").name)
    assert len(await puller.next_batch(1)) == 1
    agents = (await ask("agents.list", NameList(queues=True), AgentPage)).agents
    assert agents[0].queues == [view("build", "b1", 1), view("worker", "w-1")]
    tools = (await ask("tools.list", NameList(queues=True), ToolPage)).tools
    assert [each.queue for each in tools] == [view("tool", "fax", 1), view("tool", "mail", 1, 1)]
    assert (await ask("agents.list", NameList(), AgentPage)).agents[0].queues is None
    assert (await ask("tools.list", b"", ToolPage)).tools[0].queue is None


async def test_callers_share_a_look(desk: Desk, ask: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(desk, ask.bus)
    looks = []
    load_of = MemoryBus.load

    async def counted(self: MemoryBus, stream: str) -> StreamLoad | None:
        looks.append(stream)
        return await load_of(self, stream)

    monkeypatch.setattr(MemoryBus, "load", counted)
    for _ in range(3):
        await ask("tools.list", NameList(queues=True), ToolPage)
    assert looks == [SUBJECTS.stream("TOOLS")]


async def test_a_server_that_is_away_leaves_them_unknown(desk: Desk, ask: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(desk, ask.bus)

    async def away(self: MemoryBus, stream: str) -> StreamLoad | None:
        raise Unreachable(f"nobody answers about {stream}")

    monkeypatch.setattr(MemoryBus, "load", away)
    assert (await ask("tools.list", NameList(queues=True), ToolPage)).tools[0].queue is None
    assert (await ask("agents.list", NameList(queues=True), AgentPage)).agents[0].queues is None


async def test_queues_are_not_told_to_who_sees_a_part(desk: Desk, ask: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(desk, ask.bus)
    monkeypatch.setattr(Who, "of_the_house", property(lambda _self: False))
    assert (await ask("agents.list", NameList(queues=True), AgentPage)).agents[0].queues is None
