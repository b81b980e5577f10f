"""What the terminal gets: each line of the story once, in order; questions with exactly what would be filed."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from rich.console import Console

from tests.unit.waypost_cli_demo import story
from tests.unit.waypost_cli_demo.test_people import REPORT
from tests.waiting import wait_until
from waypost_cli.demo import display as display_module
from waypost_cli.demo.board import Board
from waypost_cli.demo.display import Display


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display_module, "REFRESH_SECONDS", 0.01)


@asynccontextmanager
async def showing(board: Board, *, terminal: bool) -> AsyncIterator[tuple[Display, io.StringIO]]:
    out = io.StringIO()
    display = Display(board, Console(file=out, width=120, force_terminal=terminal), "the desk")
    running = asyncio.create_task(display.run())
    yield display, out
    if running.done():
        running.result()
    running.cancel()
    await asyncio.wait([running])


async def test_without_a_terminal_each_line_is_printed_once() -> None:
    board = story.board()
    async with showing(board, terminal=False) as (display, out):
        await wait_until(lambda: "accepted" in out.getvalue())
        board.say("", "kill -9 worker", "chaos")
        await wait_until(lambda: "*** kill -9 worker" in out.getvalue())
    board.say("C-1", "the end")
    display.flush()
    display.flush()
    assert [line.split(maxsplit=1)[1] for line in out.getvalue().splitlines()] == [
        "C-1      accepted",
        "*** kill -9 worker",
        "C-1      the end",
    ]


async def test_on_a_terminal_the_board_is_drawn() -> None:
    async with showing(story.board(), terminal=True) as (_, out):
        await wait_until(lambda: "0 of 1 cases ended" in out.getvalue())


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Standard input is a pipe; what is given is typed into it."""
    read, write = os.pipe()
    with os.fdopen(read) as stdin, os.fdopen(write, "w") as keyboard:
        monkeypatch.setattr("sys.stdin", stdin)

        def send(text: str) -> None:
            if text:
                keyboard.write(text)
                keyboard.flush()
            else:
                keyboard.close()

        yield send


@pytest.mark.parametrize(
    ("keys", "answer"),
    [("a\n", True), ("approve\n", True), ("D\n", False), ("what?\n\nyes\n", True), ("no\n", False)],
)
@pytest.mark.parametrize("terminal", [True, False])
async def test_a_person_is_shown_the_report_and_asked(typed: Callable[[str], None], keys: str, answer: bool, terminal: bool) -> None:
    board = story.board()
    async with showing(board, terminal=terminal) as (display, out):
        typed(keys)
        approved, _ = await display.ask(board.rows["C-1"], REPORT)
    assert approved is answer
    assert "case C-1, account A-1, suspicious activity" in out.getvalue()
    assert "risk 0.75, total 5, transactions T-1" in out.getvalue()


async def test_the_end_of_input_denies(typed: Callable[[str], None]) -> None:
    board = story.board()
    async with showing(board, terminal=False) as (display, _):
        typed("")
        assert await display.ask(board.rows["C-1"], REPORT) == (False, "standard input ended without an answer")
