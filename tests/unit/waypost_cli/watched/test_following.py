"""Following: children as they come, connections that break, runs that do not exist."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from msgspec import Raw

from tests.unit.waypost_cli.conftest import Command
from tests.unit.waypost_cli.fake_client import RUN, FakeClient, view
from tests.unit.waypost_cli.test_explaining import CHILD, event
from waypost_cli.watched import Board, Follower, following
from waypost_core.tracing import Capture
from waypost_proto import events as ev
from waypost_proto.errors import NotFound, Unreachable
from waypost_proto.events import Event
from waypost_proto.ids import RunId

START = ev.RunStarted(input=Raw(b"1"))
ASKS = ev.ChildRequested(call_id="0:1", child_agent="helper", child_run_id=RunId(CHILD))  # type: ignore[arg-type]
ANSWERED = ev.ChildCompleted(call_id="0:1", child_run_id=RunId(CHILD), result=Raw(b"2"))  # type: ignore[arg-type]
DONE = ev.RunCompleted(result=Raw(b"3"))
Turn = list[Event] | Exception


class Log(FakeClient):
    """Answers each request for events with the next turn of that run; the last one is given again and again."""

    def __init__(self, **turns: list[Turn]) -> None:
        super().__init__()
        self.turns = {RUN: turns["run"], CHILD: turns.get("child", [[]])}

    async def events(self, run_id: str, *, after: int = 0, follow: bool = False) -> AsyncGenerator[Event, None]:
        self.asked.append(("events", (run_id,), {"after": after, "follow": follow}))
        turns = self.turns[run_id]
        turn = turns.pop(0) if len(turns) > 1 else turns[0]
        if isinstance(turn, Exception):
            raise turn
        for one in turn:
            if one.seq > after:
                yield one


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_SECONDS", 0.0)
    monkeypatch.setattr(following, "BEGIN_SECONDS", 0.0)


async def followed(log: Log, *, patience: float = 60.0) -> tuple[list[tuple[str, int]], list[str]]:
    """The events that were shown, and what was said of the connection."""
    board = Board([RUN], Capture())
    events: list[tuple[str, int]] = []
    trouble: list[str] = []
    follower = Follower(
        log,  # type: ignore[arg-type]
        board,
        lambda one: events.append((one.run_id, one.seq)),
        lambda: trouble.append(board.trouble),
        patience=patience,
    )
    await follower.run()
    assert board.ended
    return events, trouble


async def test_a_lost_connection_is_outlived_and_nothing_comes_twice() -> None:
    whole = [event(1, START), event(2, DONE)]
    log = Log(run=[whole[:1], Unreachable("no NATS"), Unreachable("no NATS"), whole])
    events, trouble = await followed(log)
    assert events == [(RUN, 1), (RUN, 2)]
    assert trouble == ["no NATS", "no NATS", ""]
    assert [kwargs["after"] for _, _, kwargs in log.asked] == [0, 1, 1, 1]


async def test_servers_that_stay_away_end_it() -> None:
    with pytest.raises(Unreachable, match="no NATS"):
        await followed(Log(run=[Unreachable("no NATS")]), patience=0.0)


async def test_a_child_is_awaited_until_it_begins() -> None:
    parent = [event(1, START), event(2, ASKS)]
    log = Log(
        run=[parent, [], [], [], [*parent, event(3, ANSWERED), event(4, DONE)]],
        child=[NotFound("no such run"), NotFound("no such run"), [event(1, START, CHILD), event(2, DONE, CHILD)]],
    )
    events, _ = await followed(log)
    assert [seq for run_id, seq in events if run_id == RUN] == [1, 2, 3, 4]


async def test_a_child_that_never_began_is_not_awaited_for_ever() -> None:
    parent = [event(1, START), event(2, ASKS), event(3, ANSWERED), event(4, DONE)]
    events, _ = await followed(Log(run=[parent], child=[NotFound("no such run")]))
    assert events == [(RUN, 1), (RUN, 2), (RUN, 3), (RUN, 4)]


async def test_a_run_that_does_not_exist_is_said() -> None:
    with pytest.raises(NotFound):
        await followed(Log(run=[NotFound("no such run")]))


def test_lines_without_a_terminal_and_the_result_after_them(waypost: Command, client: FakeClient) -> None:
    client.stream = [event(1, START), event(2, DONE)]
    client.answers["get"] = view(result=Raw(b"3"))
    done = waypost("runs", "watch", RUN)
    assert (done.code, done.out) == (0, "3\n")
    assert [line.split()[2] for line in done.err.splitlines()] == ["run_started", "run_completed"]


def test_events_as_json_and_the_exit_code(waypost: Command, client: FakeClient) -> None:
    client.stream = [event(1, START), event(2, ev.RunCancelled(by="ann"))]
    done = waypost("runs", "watch", RUN, "--json")
    assert done.code == 1
    assert [line.split('"seq":')[1][0] for line in done.out.splitlines()] == ["1", "2"]
    assert done.err == ""


def test_what_cannot_be_watched_is_usage(waypost: Command, client: FakeClient) -> None:
    assert waypost("runs", "watch").code == 2
    both = waypost("runs", "watch", RUN, CHILD, "--tokens")
    assert (both.code, both.err) == (2, "waypost: --tokens follows one run at a time\n")
    assert client.asked == []
