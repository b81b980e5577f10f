"""`waypost agents`, `waypost tools`: who hosts what, and what waits for it."""

from __future__ import annotations

from tests.unit.waypost_cli.conftest import Command
from tests.unit.waypost_cli.fake_client import FakeClient
from waypost_proto.api import AgentBuild, AgentView, QueueView, ToolView
from waypost_proto.registry import AgentDefinition, Breaker, BreakerNews, ToolDefinition
from waypost_proto.values import Effect, Rate


def test_other_builds_that_live_are_shown(waypost: Command, client: FakeClient) -> None:
    builds = [AgentBuild(build="b2", workers=["w-3"]), AgentBuild(build="b1", workers=["w-1", "w-2"])]
    definition = AgentDefinition(name="desk", build="b2")
    client.answers["agents"] = [AgentView(definition=definition, workers=["w-1", "w-2", "w-3"], builds=builds)]
    assert "b1 (2)" in waypost("agents").out


def test_what_waits_is_shown(waypost: Command, client: FakeClient) -> None:
    queues = [
        QueueView(kind="build", name="b0", pending=7),
        QueueView(kind="build", name="b1"),
        QueueView(kind="worker", name="w-1", unacked=2),
    ]
    client.answers["agents"] = [AgentView(definition=AgentDefinition(name="desk", build="b1"), workers=["w-1"], queues=queues)]
    mail = QueueView(kind="tool", name="mail", pending=4, unacked=1)
    client.answers["tools"] = [ToolView(definition=ToolDefinition(name="mail", effect=Effect.READ), gateways=["g-1"], queue=mail)]
    assert "b0: 7, w-1: 0 (2 in work)" in waypost("agents").out
    assert "4 (1 in work)" in waypost("tools").out
    assert [(name, arguments) for name, _, arguments in client.asked] == [("agents", {"queues": True}), ("tools", {"queues": True})]


def test_tools_show_rate_and_breaker(waypost: Command, client: FakeClient) -> None:
    fragile = ToolDefinition(name="mail", effect=Effect.READ, rate=Rate(count=600, seconds=60.0), breaker=Breaker())
    news = BreakerNews(tool="mail", state="half_open", at=1.0, reason="5 of 5 calls failed")
    client.answers["tools"] = [ToolView(definition=fragile, gateways=["g-1"]), ToolView(definition=fragile, breaker=news)]
    text = waypost("tools").out
    assert "600/60 s" in text
    assert "closed" in text
    assert "half-open: 5 of 5 calls failed" in text


def test_agents_and_tools_without_a_host_say_so(waypost: Command, client: FakeClient) -> None:
    client.answers["agents"] = [AgentView(definition=AgentDefinition(name="desk", build="b1", tools=["mail"]))]
    client.answers["tools"] = [ToolView(definition=ToolDefinition(name="mail", effect=Effect.UNSAFE), gateways=["g-1"])]
    text = waypost("agents").out
    assert "desk" in text
    assert "none" in text
    text = waypost("tools").out
    assert "unsafe" in text
    assert "g-1" in text
