"""The live view: a board as a rich renderable, and as plain lines where the output is no terminal. Pure functions of board and time."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from waypost_cli.demo import words
from waypost_cli.demo.board import Board
from waypost_cli.demo.rows import Line, OpenCall, Row
from waypost_cli.output import STYLES

STORY_LINES = 10
"""Lines of the story below the table, when the terminal is high enough."""

_TONES = {"plain": "", "good": "green", "bad": "red", "ask": "magenta", "chaos": "bold red"}


def waits_for(row: Row, now: float) -> str:
    """Who or what a case waits for, in a few words: the call that keeps it longest comes first."""
    if row.ended or not row.calls:
        return row.error
    order = {"approval": 0, "paused": 1, "in_doubt": 2, "waiting": 3, "held": 4, "running": 5}
    calls = sorted(row.calls.values(), key=lambda call: order[call.state])
    return "; ".join(_call(call, now) for call in calls[:2]) + (f"; {len(calls) - 2} more" if len(calls) > 2 else "")


def _call(call: OpenCall, now: float) -> str:
    match call.state:
        case "approval":
            return "an officer's approval"
        case "paused":
            return f"{call.name}: paused in a loop, the supervisor decides"
        case "held":
            return f"{call.name}: nobody hosts it yet"
        case "waiting":
            when = f", next at {words.clock(call.next_at)} (in {words.seconds(call.next_at - now)})" if call.next_at is not None else ""
            return f"{call.label}: attempt {call.attempt} of {call.max_attempts} failed{when}"
        case "in_doubt":
            when = f" at {words.clock(call.next_at)}" if call.next_at is not None else " by a person"
            return f"{call.name} in doubt, settled{when}"
        case _:
            return call.label if call.attempt <= 1 else f"{call.label} (attempt {call.attempt})"


def render(board: Board, now: float, *, title: str, height: int = 40) -> RenderableType:
    """The whole view, for a terminal of `height` lines."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for column in ("case", "account", "due in", "state", "waits for", "risk", "attempts", "report"):
        table.add_column(column, no_wrap=True, ratio=1 if column == "waits for" else None, overflow="ellipsis")
    for row in board.rows.values():
        table.add_row(*_cells(row, now))
    room = max(height - len(board.rows) - 7, 3)
    story = [
        Text(_text(line), style=_TONES[line.tone], no_wrap=True, overflow="ellipsis")
        for line in list(board.feed)[-min(room, STORY_LINES) :]
    ]
    head = Text.assemble((title, "bold"), f"   {board.ended} of {len(board.rows)} cases ended")
    return Group(head, table, Rule(style="dim"), *story)


def _cells(row: Row, now: float) -> list[Text | str]:
    return [
        row.case.id,
        row.case.account,
        words.due(row.deadline_at, now) if not row.ended else "",
        Text(row.status.replace("_", " "), style=STYLES.get(row.status, "dim")),
        Text(waits_for(row, now)),
        risk(row),
        attempts(row),
        Text(row.report_id),
    ]


def risk(row: Row) -> Text | str:
    """The risk, red where it is high."""
    if row.risk is None:
        return ""
    return Text(f"{row.risk:.2f}", style="red" if row.risk >= 0.7 else "green")


def attempts(row: Row) -> str:
    """Tool attempts in all, and how many of them failed."""
    failed = row.failed_attempts + row.doubts
    return f"{row.attempts} ({failed} failed)" if failed else str(row.attempts or "")


def plain(line: Line, now: float) -> str:
    """A line of the story for a log file or a pipe, with the time it happened."""
    return f"{words.clock(now if line.at is None else line.at)}  {_text(line)}"


def _text(line: Line) -> str:
    return f"{line.case:<8} {line.text}" if line.case else f"*** {line.text}"
