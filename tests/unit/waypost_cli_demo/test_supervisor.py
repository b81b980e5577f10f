"""The supervisor: takes only genuine notices, tells them once, and does what a person would, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from tests.unit.waypost_cli_demo import story
from tests.waiting import wait_until
from waypost.client import Client
from waypost_cli.demo import supervisor as module
from waypost_cli.demo.board import Board
from waypost_cli.demo.supervisor import Notices, Supervisor
from waypost_examples.compliance.legacy.http import Request
from waypost_examples.compliance.legacy.sanctions import Entry
from waypost_io.webhooks import signature
from waypost_proto import codec, events
from waypost_proto.errors import Conflict, Unreachable, WaypostError
from waypost_proto.notices import Notice
from waypost_proto.values import Failure

SECRET = "s"


def posted(notice: Notice, *, secret: str = SECRET, at: float | None = None, path: str = "notices") -> Request:
    body = codec.encode(notice)
    return Request("POST", (path,), {"waypost-signature": signature(secret, body, time.time() if at is None else at)}, body)


def paused(run_id: str = story.CHILD) -> Notice:
    return Notice(notice_id="n-1", run_id=story.RunId(run_id), agent="owner-tracer", why="paused", message="it loops", at="")


@pytest.mark.parametrize(
    ("made", "status"),
    [  # made when the test runs: a signature is too old after a few minutes
        (lambda: posted(paused()), 200),
        (lambda: posted(paused(), secret="other"), 401),
        (lambda: posted(paused(), at=1_000_000.0), 401),
        (lambda: Request("POST", ("notices",), {}, b"{}"), 401),
        (lambda: posted(paused(), path="elsewhere"), 404),
    ],
)
async def test_only_genuine_notices_are_taken(made: Callable[[], Request], status: int) -> None:
    notices = Notices(SECRET)
    assert (await notices(made())).status == status
    assert len(notices.fresh) == (status == 200)


async def test_what_is_signed_but_no_notice_is_refused() -> None:
    body = b'{"a": 1}'
    request = Request("POST", ("notices",), {"waypost-signature": signature(SECRET, body, time.time())}, body)
    assert (await Notices(SECRET)(request)).status == 400


async def test_a_notice_that_comes_twice_is_one() -> None:
    notices = Notices(SECRET)
    for _ in range(2):
        assert (await notices(posted(paused()))).status == 200
    assert len(notices.fresh) == 1


class Platform:
    """Remembers what was asked; raises `faults` first."""

    def __init__(self, *faults: WaypostError) -> None:
        self.faults = list(faults)
        self.asked: list[tuple[Any, ...]] = []

    async def resume(self, run_id: str, *, instruction: str, by: str) -> None:
        self._ask("resume", run_id, by)

    async def resolve(self, run_id: str, call_id: str, outcome: str, *, result: Any = None, reason: str, by: str) -> None:
        self._ask("resolve", call_id, outcome, getattr(result, "order", None))

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        if self.faults:
            raise self.faults.pop(0)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(module, "THINKING_SECONDS", 0.0)


async def acted(platform: Platform, board: Board, notices: Notices, book: list[Entry] | None = None) -> None:
    """Let the supervisor work until the platform was asked and its faults are used up, and a while longer."""

    async def read() -> list[Entry]:
        return book or []

    working = asyncio.create_task(Supervisor(cast("Client", platform), board, notices, read).run())
    try:
        await wait_until(lambda: platform.asked and not platform.faults)
        for _ in range(50):
            await asyncio.sleep(0)
        if working.done():
            working.result()
    finally:
        working.cancel()


def looping() -> Board:
    board = story.board()
    story.Teller(board).tell(
        events.RunStarted(), events.ChildRequested(call_id=story.ANALYST, child_agent="owner-tracer", child_run_id=story.CHILD)
    )
    loop = events.LoopDetected(kind="same_call", message="again", seqs=[1, 2, 3], times=3)
    story.Teller(board, run_id=story.CHILD).tell(loop, events.RunPaused(reason="loop"))
    return board


async def test_a_loop_is_told_and_given_an_instruction_once() -> None:
    platform, board, notices = Platform(), looping(), Notices(SECRET)
    await notices(posted(paused()))
    await acted(platform, board, notices)
    assert platform.asked == [("resume", story.CHILD, "dora")]
    assert "the supervisor is told (paused): it loops" in [line.text for line in board.feed]


async def test_a_notice_of_a_run_that_is_not_known_yet_is_kept() -> None:
    platform, board, notices = Platform(), looping(), Notices(SECRET)
    await notices(posted(paused("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e99")))
    module_wait = module.NOTICE_SECONDS
    try:
        module.NOTICE_SECONDS = 0.0  # and a loop of which no notice comes is acted on all the same
        await acted(platform, board, notices)
    finally:
        module.NOTICE_SECONDS = module_wait
    assert len(notices.fresh) == 1
    assert platform.asked == [("resume", story.CHILD, "dora")]


@pytest.mark.parametrize(("fault", "times"), [(Unreachable("gone"), 2), (Conflict("goes on already"), 1)])
async def test_what_was_not_confirmed_is_done_again(fault: WaypostError, times: int) -> None:
    platform, board, notices = Platform(fault), looping(), Notices(SECRET)
    await notices(posted(paused()))
    await acted(platform, board, notices)
    assert len(platform.asked) == times


def unsettled(tool: str = "freeze-account") -> Board:
    board = story.board()
    doubt = events.ToolCallInDoubt(call_id=story.REPORT, tool=tool, attempt=1, error=Failure(type="Timeout", message=""))
    story.Teller(board).tell(events.RunStarted(), story.requested(story.REPORT, tool), doubt)
    return board


@pytest.mark.parametrize(
    ("book", "outcome", "order"),
    [([Entry(order="F-7", account="A-1", name="X")], "completed", "F-7"), ([Entry(order="F-7", account="B", name="X")], "not_done", None)],
)
async def test_a_doubt_is_settled_by_what_the_other_side_has_written_down(book: list[Entry], outcome: str, order: str | None) -> None:
    platform, notices = Platform(), Notices(SECRET)
    notice = Notice(notice_id="n-2", run_id=story.RUN, agent="compliance", why="in_doubt", message="who knows", at="")
    await notices(posted(notice))
    await acted(platform, unsettled(), notices, book)
    assert platform.asked == [("resolve", story.REPORT, outcome, order)]
