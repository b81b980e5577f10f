"""What commands print: JSON for programs, tables and lines for people. Results go to standard output, all else to standard error."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Raw, json

from waypost_proto.task import parse_time

if TYPE_CHECKING:
    from rich.console import Console

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
STYLES = {
    "completed": "green",
    "failed": "red",
    "cancelled": "dim",
    "paused": "yellow",
    "waiting_approval": "magenta",
    "waiting": "cyan",
    "running": "blue",
    "pending": "dim",
}
"""Colour of a run's status, the same everywhere."""


def print_json(value: Any) -> None:
    """One JSON document, indented."""
    _write(json.format(json.encode(value), indent=2).decode() + "\n")


def print_json_line(value: Any) -> None:
    """One JSON document on one line, flushed: for streams of them."""
    _write(json.encode(value).decode() + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """One line of plain text as the result."""
    _write(text + "\n")


def note(text: str) -> None:
    """One line beside the result, for people."""
    print(text, file=sys.stderr)


def console(*, to_stderr: bool = False) -> Console:
    """A rich console; wide enough for whole ids when the output is no terminal."""
    from rich.console import Console

    made = Console(stderr=to_stderr, highlight=False)
    if not made.is_terminal:
        made.width = 200
    return made


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """A table whose first column is never wrapped; `empty` is said when there are no rows. Cells are text, not markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, no_wrap=index == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    if table.row_count == 0:
        note(empty)
        return
    console().print(table)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Names and values, one a line; what has no value is left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value:
            table.add_row(name, Text(value, style=STYLES.get(value, "")))
    console().print(table)


def short_json(raw: Raw | bytes, limit: int = 120) -> str:
    """A JSON value on one line, cut at `limit` characters."""
    text = bytes(raw).decode("utf-8", "replace")
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def ago(text: str, *, now: float | None = None) -> str:
    """An RFC 3339 time as people say it: `12 s ago`, `3 h ago`, `in 2 d`."""
    if not text:
        return ""
    seconds = (datetime.now(UTC).timestamp() if now is None else now) - parse_time(text)
    size = abs(seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if size >= 2 * length:  # "90 min" says more than "1 h"
            amount = f"{size / length:.0f} {unit}"
            break
    else:
        amount = f"{size:.0f} s"
    return f"{amount} ago" if seconds >= 0 else f"in {amount}"


def clean(text: str) -> str:
    """Without what a terminal would obey: a model, a tool or a person may have written it."""
    return _CONTROLS.sub("", text)


def _write(text: str) -> None:
    sys.stdout.write(text)
