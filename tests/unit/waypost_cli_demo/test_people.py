"""The officer and the intake against a platform that is away at times: everything is done once, however often it is tried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, cast

import pytest
from msgspec import Raw

from tests.unit.waypost_cli_demo import story
from tests.waiting import wait_until
from waypost.client import Client
from waypost_cli.demo import intake as intake_module
from waypost_cli.demo import officer as officer_module
from waypost_cli.demo.board import Board
from waypost_cli.demo.intake import Intake
from waypost_cli.demo.officer import Arguments, Desk, Officer
from waypost_cli.demo.rows import Row
from waypost_examples.compliance.model import Report
from waypost_proto import api, codec, events
from waypost_proto.errors import Conflict, NotFound, Unreachable, WaypostError

REPORT = Report(case="C-1", account="A-1", kind="suspicious_activity", total=Decimal(5), risk=0.75, reasons=["r"], transactions=["T-1"])


class Platform:
    """What a client asks, and `faults` it raises first, one for each request."""

    def __init__(self, *faults: WaypostError) -> None:
        self.faults = list(faults)
        self.asked: list[tuple[Any, ...]] = []
        self.log: list[events.Event] = []

    def _ask(self, *what: Any) -> None:
        self.asked.append(what)
        if self.faults:
            raise self.faults.pop(0)

    async def start(self, agent: str, case: Any, *, idempotency_key: str, **_: Any) -> api.RunAnswer:
        self._ask("start", idempotency_key)
        return api.RunAnswer(run_id=story.RUN, status="pending")

    async def events(self, run_id: str, *, after: int) -> AsyncIterator[events.Event]:
        self._ask("events", after)
        for event in self.log[after : after + 2]:
            yield event

    async def approvals(self, *, run_id: str) -> list[api.ApprovalView]:
        args = Raw(codec.encode(Arguments(report=REPORT)))
        view = api.ApprovalView(
            approval_id="ap-1",
            run_id=run_id,
            agent="compliance",
            call_id=story.REPORT,
            tool="file-report",
            args=args,
            args_digest="d",
            role="officer",
            state="open",
            requested_at="",
            expires_at="",
        )
        return [view]

    async def approve(self, approval_id: str, **_: Any) -> None:
        self._ask("approve", approval_id)

    async def deny(self, approval_id: str, **_: Any) -> None:
        self._ask("deny", approval_id)

    @property
    def client(self) -> Client:
        return cast("Client", self)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(intake_module, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(officer_module, "POLL_SECONDS", 0.0)


def waiting() -> Board:
    board = story.board()
    story.Teller(board).tell(events.RunStarted(), story.requested(story.REPORT, "file-report"), story.approval())
    return board


async def decided(platform: Platform, *, approve: bool = True, desk: Desk | None = None) -> list[Report]:
    """Let an officer work until the platform was asked and all its faults are used up; what the officer was shown."""
    shown: list[Report] = []

    async def decide(row: Row, report: Report) -> tuple[bool, str]:
        shown.append(report)
        return approve, "because"

    working = asyncio.create_task(Officer(platform.client, waiting(), decide, desk or Desk()).run())
    try:
        await wait_until(lambda: platform.asked and not platform.faults)
        for _ in range(50):
            await asyncio.sleep(0)
        if working.done():
            working.result()
    finally:
        working.cancel()
    return shown


@pytest.mark.parametrize(("approve", "asked"), [(True, [("approve", "ap-1")]), (False, [("deny", "ap-1")])])
async def test_an_approval_is_decided_once_on_exactly_its_report(approve: bool, asked: list[tuple[str, str]]) -> None:
    platform = Platform()
    assert await decided(platform, approve=approve) == [REPORT]
    assert platform.asked == asked


async def test_a_decision_that_was_not_confirmed_is_made_again() -> None:
    platform = Platform(Unreachable("gone"), WaypostError("half-way"))
    await decided(platform)
    assert platform.asked == [("approve", "ap-1")] * 3


async def test_somebody_else_may_decide_first() -> None:
    platform = Platform(Conflict("decided"))
    await decided(platform)
    assert platform.asked == [("approve", "ap-1")]


async def test_an_officer_without_leave_decides_nothing() -> None:
    platform = Platform()
    desk = Desk(0)
    working = asyncio.create_task(Officer(platform.client, waiting(), officer_module.approve_all, desk).run())
    for _ in range(50):
        await asyncio.sleep(0)
    assert platform.asked == []
    working.cancel()


async def test_a_case_is_handed_in_until_it_is_accepted_under_one_key() -> None:
    platform = Platform(Unreachable("gone"), Unreachable("gone"))
    board = Board([story.case()])
    await Intake(platform.client, board, key_prefix="x-").submit([story.case()])
    assert platform.asked == [("start", "x-C-1")] * 3
    assert board.rows["C-1"].status == "pending"


async def test_a_case_that_is_refused_is_not_tried_again() -> None:
    with pytest.raises(Conflict):
        await Intake(Platform(Conflict("other input")).client, Board([story.case()])).submit([story.case()])


async def test_following_goes_on_where_it_was_until_the_end() -> None:
    platform = Platform(Unreachable("gone"))
    teller = story.Teller(story.board())
    teller.tell(
        events.RunStarted(), story.requested(story.BANK, "core-banking"), story.completed(story.BANK, "core-banking", {}), story.ended()
    )
    platform.log = teller.told
    board = story.board()
    await Intake(platform.client, board).follow(story.case())
    assert board.rows["C-1"].ended
    assert platform.asked == [("events", 0), ("events", 0), ("events", 2)]


class SlowToStart(Platform):
    """A child is known by its id before its run has begun."""

    def __init__(self, child: list[events.Event]) -> None:
        super().__init__()
        self.child = child
        self.looked_early = 0

    async def events(self, run_id: str, *, after: int) -> AsyncIterator[events.Event]:
        if run_id == story.CHILD:
            if self.looked_early == 2:
                for event in self.child[after:]:
                    yield event
                return
            self.looked_early += 1
            raise NotFound(f"no run {run_id}")
        async for event in super().events(run_id, after=after):
            yield event


async def test_a_child_that_is_not_started_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_module, "POLL_SECONDS", 0.0)
    parent, child = story.Teller(story.board()), story.Teller(story.board(), run_id=story.CHILD)
    parent.tell(events.RunStarted(), story.child(), story.assessed(0.75), story.ended())
    child.tell(events.RunStarted(), events.RunCompleted(result=Raw(b"1")))
    platform = SlowToStart(child.told)
    platform.log = parent.told
    board = story.board()
    async with asyncio.timeout(5):
        await Intake(platform.client, board).follow(story.case())
    assert board.rows["C-1"].ended
    assert platform.looked_early == 2


class Quorum(Platform):
    """Takes each person once, as the platform does."""

    def __init__(self, *faults: WaypostError) -> None:
        super().__init__(*faults)
        self.given: list[str] = []

    async def approve(self, approval_id: str, *, by: str = "", **_: Any) -> None:
        self._ask("approve", by)
        if by in self.given:
            raise Conflict(f"{by} has approved already")
        self.given.append(by)


@pytest.mark.parametrize("faults", [[], [Unreachable("gone")]])
async def test_of_a_quorum_each_approves_once_and_the_second_try_of_the_first_is_refused(faults: list[WaypostError]) -> None:
    platform = Quorum(*faults)
    board = waiting()
    board.rows["C-1"].quorum = 2

    async def decide(row: Row, report: Report) -> tuple[bool, str]:
        return True, row.officer

    working = asyncio.create_task(Officer(platform.client, board, decide, Desk()).run())
    await wait_until(lambda: platform.given == ["ann", "bert"])
    working.cancel()
    assert "ann approves a second time and is refused: ann has approved already" in [line.text for line in board.feed]
