"""How the board looks: the live table, plain lines, the final table."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tests.unit.waypost_cli_demo import story
from waypost_cli.demo import screen, verdict, words
from waypost_cli.demo.board import Board
from waypost_examples.compliance.cases import Expected
from waypost_examples.compliance.legacy.regulator import Counts
from waypost_examples.compliance.model import Outcome
from waypost_proto import events
from waypost_proto.values import Failure

NOON = story.NOON


def shown(board: Board, *, height: int = 40, width: int = 160) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(screen.render(board, NOON, title="the desk", height=height))
    return out.getvalue()


def test_a_fresh_board() -> None:
    text = shown(story.board("C-1", "C-2"))
    assert "the desk   0 of 2 cases ended" in text
    assert text.count("pending") == 2


def test_who_waits_for_what() -> None:
    board = story.board("C-1", "C-2", "C-3", "C-4")
    doubt = events.ToolCallInDoubt(
        call_id=story.REPORT, tool="file-report", attempt=1, error=Failure(type="TimeoutError", message=""), reconcile_at=NOON + 3
    )
    story.Teller(board, "C-1").tell(
        events.RunStarted(), story.requested(story.BANK, "core-banking"), story.requested(story.SANCTIONS, "sanctions")
    )
    story.Teller(board, "C-2").tell(
        events.RunStarted(), story.requested(story.SANCTIONS, "sanctions"), story.failed(story.SANCTIONS, "sanctions", 3, next_in=4.25)
    )
    story.Teller(board, "C-3").tell(events.RunStarted(), story.requested(story.REPORT, "file-report"), story.approval())
    story.Teller(board, "C-4").tell(events.RunStarted(), story.requested(story.REPORT, "file-report"), doubt)
    waits = [screen.waits_for(row, NOON) for row in board.rows.values()]
    assert waits == [
        "core-banking; sanctions",
        "sanctions: attempt 3 of 20 failed, next at 12:00:04.2 (in 4.2 s)",
        "an officer's approval",
        "file-report in doubt, settled at 12:00:03.0",
    ]
    text = shown(board)
    assert all(part in text for part in waits)
    assert "waiting approval" in text


def test_only_two_calls_are_named() -> None:
    board = story.board()
    teller = story.Teller(board)
    teller.tell(*(story.requested(story.CallId(f"0:{n}"), "sanctions") for n in range(5)))
    assert screen.waits_for(teller.row, NOON) == "sanctions; sanctions; 3 more"


def test_chaos_is_in_the_story() -> None:
    board = story.board()
    board.say("", "kill -9 worker", "chaos")
    assert "*** kill -9 worker" in shown(board)
    assert screen.plain(board.feed[-1], NOON) == "12:00:00.0  *** kill -9 worker"


def test_it_fits_a_low_terminal() -> None:
    board = story.board(*(f"C-{n}" for n in range(12)))
    for number in range(50):
        board.say("C-1", f"line {number}")
    text = shown(board, height=24)
    assert "line 49" in text
    assert "line 40" not in text


@pytest.mark.parametrize("markup", ["[bold]", "[/]", "[red]x"])
def test_what_comes_from_outside_is_text_and_not_markup(markup: str) -> None:
    board = story.board()
    teller = story.Teller(board)
    teller.tell(events.RunFailed(error=Failure(type="Error", message=markup)))
    assert markup in shown(board)


def test_attempts_are_told_with_their_failures() -> None:
    teller = story.Teller(story.board())
    teller.tell(story.requested(story.BANK, "core-banking"))
    assert screen.attempts(teller.row) == "1"
    teller.tell(story.failed(story.BANK, "core-banking", 1, next_in=1))
    assert screen.attempts(teller.row) == "1 (1 failed)"


def test_words() -> None:
    assert words.clock(NOON + 0.29) == "12:00:00.2"
    assert words.failure(Failure(type="E", message="x" * 500)).endswith("…")
    assert len(words.failure(Failure(type="E", message="x" * 500))) == words.MAX_ERROR_CHARS
    assert words.seconds(-1) == "0.0 s"


# -- the verdict


def judged(counts: dict[str, int], decisions: dict[str, str]) -> tuple[bool, str]:
    board = story.board(*decisions)
    for name, decision in decisions.items():
        teller = story.Teller(board, name)
        if decision == "failed":
            teller.tell(events.RunFailed(error=Failure(type="ToolFailed", message="gone")))
        elif decision:
            teller.tell(story.ended(decision, None if decision in verdict.UNREPORTED else "R-00001"))
    out = io.StringIO()
    found = verdict.judge(board, Counts(total=sum(counts.values()), by_case=counts, by_key={}))
    right = verdict.show(Console(file=out, width=160), found)
    return right, out.getvalue()


def test_one_report_each_is_right() -> None:
    right, text = judged({"C-1": 1, "C-2": 1}, {"C-1": "reported", "C-2": "summarised"})
    assert right
    assert "reports expected 2, received by the regulator 2: exactly one for each case" in text
    assert text.count("1 of 1") == 2


def test_a_refused_report_must_not_have_been_filed() -> None:
    assert judged({"C-1": 1}, {"C-1": "reported", "C-2": "refused"})[0]
    assert judged({"C-1": 1}, {"C-1": "reported", "C-2": "denied"})[0]
    right, text = judged({"C-1": 1, "C-2": 1}, {"C-1": "reported", "C-2": "refused"})
    assert not right
    assert "WRONG for C-2" in text


@pytest.mark.parametrize(
    ("counts", "decisions"),
    [
        ({"C-1": 2}, {"C-1": "reported"}),
        ({}, {"C-1": "reported"}),
        ({"C-1": 1}, {"C-1": ""}),
        ({"C-1": 1}, {"C-1": "failed"}),
        ({"C-1": 2, "C-2": 0}, {"C-1": "reported", "C-2": "reported"}),
    ],
)
def test_anything_else_is_wrong(counts: dict[str, int], decisions: dict[str, str]) -> None:
    right, text = judged(counts, decisions)
    assert not right
    assert "WRONG for C-1" in text


def test_reports_of_other_cases_do_not_count() -> None:
    assert judged({"C-1": 1, "X": 5}, {"C-1": "reported"})[0]


def one(*, decision: str = "reported", frozen: int = 0, order: str | None = None, should: Expected | None = None) -> str:
    """What is wrong with a case that was reported once."""
    teller = story.Teller(story.board())
    outcome = Outcome(case="C-1", decision=decision, risk=0.75, report_id="R-1", freeze_order=order)  # type: ignore[arg-type]
    teller.tell(events.RunCompleted(result=story.raw(outcome)))
    counts = Counts(total=1, by_case={"C-1": 1}, by_key={})
    expected = {"C-1": should} if should else {}
    return verdict.judge(teller.board, counts, frozen={"A-1": frozen}, expected=expected)[0].wrong


@pytest.mark.parametrize(("frozen", "order", "says"), [(1, "F-1", ""), (2, "F-1", "2 of 1"), (0, "F-1", "0 of 1"), (1, None, "1 of 0")])
def test_an_account_is_frozen_once_or_not_at_all(frozen: int, order: str | None, says: str) -> None:
    wrong = one(frozen=frozen, order=order)
    assert says in wrong
    assert bool(wrong) == bool(says)


@pytest.mark.parametrize(
    ("should", "says"),
    [
        (Expected("reported", ()), ""),
        (Expected("denied", ()), "decided 'reported', expected 'denied'"),
        (Expected("reported", ("two officers",)), "expected: two officers"),
    ],
)
def test_a_case_ends_as_expected(should: Expected, says: str) -> None:
    assert one(should=should) == says


@pytest.mark.parametrize(
    ("args", "about"),
    [({"name": "Zarya"}, "Zarya"), ({"name": "x" * 50}, "x" * 29 + "…"), ({"report": {"a": 1}}, ""), ({"a": "1", "b": "2"}, ""), ({}, "")],
)
def test_a_call_is_about_its_one_text(args: object, about: str) -> None:
    assert words.about(story.raw(args)) == about


@pytest.mark.parametrize(("left", "text"), [(None, ""), (-1, "over"), (86_400, "24 h"), (30 * 86_400, "30 d")])
def test_how_long_until_the_deadline(left: float | None, text: str) -> None:
    assert words.due(None if left is None else NOON + left, NOON) == text
