"""`waypost runs explain`: the command, and the logs of every kind of agent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from tests.unit.waypost.langgraph.models import Scripted
from tests.unit.waypost.langgraph.test_graphs import ASKED, answers, chat
from tests.unit.waypost.langgraph.world import World
from tests.unit.waypost.reasoning.fake import Fake, calls
from tests.unit.waypost.reasoning.rig import Rig
from tests.unit.waypost_cli.conftest import Command
from tests.unit.waypost_cli.fake_client import RUN, FakeClient
from waypost import ReasoningAgent, tool
from waypost_core.chronicle import Chronicle, tell
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.ids import RunId
from waypost_proto.task import format_time
from waypost_proto.values import Effect
from waypost_proto.work import Entry

CHILD = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e56"


def event(seq: int, data: ev.Data, run_id: str = RUN, at: float = 1_000.0) -> ev.Event:
    kind = str(type(data).__struct_config__.tag)
    return ev.Event(
        run_id=RunId(run_id),
        seq=seq,
        type=kind,
        agent="desk",
        correlation_id=run_id,
        recorded_at=format_time(at + seq),
        data=Raw(encode(data)),
    )


def of_journal(entries: list[Entry], run_id: str) -> str:
    """What is told of a run whose journal a worker's test kept."""
    tale = Chronicle(RunId(run_id))
    for number, one in enumerate(entries, 1):
        tale.feed(
            ev.Event(
                run_id=RunId(run_id),
                seq=number,
                type=one.type,
                agent="desk",
                correlation_id=run_id,
                recorded_at=format_time(one.at),
                data=one.data,
            )
        )
    account = tale.account()
    return "\n".join(tell(account, account.ended_at or account.started_at))


@pytest.fixture
def desk(client: FakeClient) -> FakeClient:
    """A run that has called a tool with a password and failed."""
    call: Any = {"call_id": "0:1", "tool": "pay"}
    args = Raw(b'{"password":"hush","to":"\\u001b[31mbob"}')
    client.stream = [
        event(1, ev.RunStarted(input=Raw(b'{"id":1}'), starter="ann")),
        event(2, ev.ToolCallRequested(**call, args=args, args_digest="d", idempotency_key="k", effect=Effect.UNSAFE)),
        event(3, ev.ToolCallCompleted(**call, attempt=1, result=Raw(b'"done"'))),
        event(4, ev.RunFailed(error=ev.Failure(type="ValueError", message="no such case"))),
    ]
    return client


def test_a_run_is_told(waypost: Command, desk: FakeClient) -> None:
    done = waypost("runs", "explain", RUN)
    assert (done.code, done.err) == (0, "")
    assert "by        ann" in done.out
    assert "Tool pay (0:1, unsafe) with" in done.out
    assert "error ValueError: no such case" in done.out
    assert "hush" not in done.out, "values of keys that look like secrets are hidden, as in traces"
    assert "\x1b" not in done.out, "what a tool was given cannot command a terminal"
    assert [name for name, _, _ in desk.asked] == ["events"], "the log alone was read"


def test_as_json_and_as_markdown(waypost: Command, desk: FakeClient) -> None:
    account = json.loads(waypost("runs", "explain", RUN, "--json").out)
    assert (account["run_id"], account["status"], account["error"]) == (RUN, "failed", "ValueError: no such case")
    assert account["entries"][0]["attempts"][0]["outcome"] == "answered"
    assert waypost("runs", "explain", RUN, "--markdown").out.startswith(f"# Run {RUN}")


def test_contents_follow_the_policy(waypost: Command, desk: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert '"to"' not in waypost("runs", "explain", RUN, "--content", "none").out
    monkeypatch.setenv("WAYPOST_TRACES_CONTENT", "none")
    assert '"to"' not in waypost("runs", "explain", RUN).out
    assert '"to"' in waypost("runs", "explain", RUN, "--content", "all").out
    monkeypatch.setenv("WAYPOST_TRACES_CONTENT", "all")
    monkeypatch.setenv("WAYPOST_TRACES_HIDE_KEYS", "to")
    assert "bob" not in waypost("runs", "explain", RUN).out


def test_from_a_file_without_a_server(waypost: Command, desk: FakeClient, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    log.write_text(waypost("runs", "events", RUN, "--json").out)
    desk.asked.clear()
    assert "no such case" in waypost("runs", "explain", "--log", str(log)).out
    assert desk.asked == []
    bad = waypost("runs", "explain", CHILD, "--log", str(log))
    assert (bad.code, bad.err) == (2, f"waypost: --log has no event of run {CHILD}\n")
    log.write_text(log.read_text().split("\n", 1)[1])
    assert "--log, line 1: event 2 of run" in waypost("runs", "explain", "--log", str(log)).err
    assert waypost("runs", "explain", "--log", str(tmp_path / "none")).code == 2
    assert waypost("runs", "explain").code == 2


def test_children_are_told_below_their_parent(waypost: Command, client: FakeClient, tmp_path: Path) -> None:
    lines = [
        event(1, ev.RunStarted(input=Raw(b"1"))),
        event(2, ev.ChildRequested(call_id="0:1", child_agent="helper", child_run_id=RunId(CHILD))),  # type: ignore[arg-type]
        event(1, ev.RunStarted(input=Raw(b"2")), CHILD),
    ]
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(map(encode, lines)))
    assert [one["run_id"] for one in json.loads(waypost("runs", "explain", "--log", str(log), "--children", "--json").out)] == [RUN, CHILD]
    assert json.loads(waypost("runs", "explain", RUN, "--log", str(log), "--json").out)["pending"][0]["call_id"] == "0:1"
    assert client.asked == []


def test_a_reasoning_agents_run_is_told() -> None:
    @tool(effect="read")
    async def look(key: str) -> str:
        """Looks something up."""
        return key

    agent = ReasoningAgent(
        name="thinker",
        model=Fake(calls(("look", {"key": "a"}), text="I look at a.", tokens=7), "it is fine"),
        instructions="Look.",
        tools=[look],
    )
    rig = Rig(agent, "what of a?")
    rig.think()
    (asked,) = [item for item in rig.items if isinstance(item, cmd.CallTool)]
    rig.answer(asked.id, "A")
    rig.think()
    text = of_journal(rig.recorder.log, RUN)
    assert "said: “I look at a.”" in text
    assert "Tool look (" in text
    assert "Model fake-1 (" in text
    assert "2 model calls" in text
    assert "completed at" in text
    assert "it is fine" in text


async def test_a_graphs_run_is_told() -> None:
    world = World(chat(Scripted(say=answers)), ASKED)
    await world.end()
    text = of_journal(world.log, RUN)
    await world.close()
    assert text.count("Model ") == 3
    assert "The graph saved its state: step " in text
    assert text.count("Tool look-up") == 2
    assert "30 + 15 tokens" in text
    assert "completed at" in text
