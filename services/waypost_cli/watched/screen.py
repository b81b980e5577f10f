"""Where a board is shown: a tree that is drawn again and again on a terminal, lines anywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from waypost_cli.event_lines import line_of
from waypost_cli.output import clean
from waypost_cli.watched.board import Board
from waypost_cli.watched.tree import Line, lines_of
from waypost_proto.events import Event

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.text import Text

FRAME_SECONDS = 0.12
"""Between two drawings at least: what happens in between is drawn together."""
TICK_SECONDS = 1.0
"""Between two drawings at most: countdowns go on."""
_STYLES = {"run": "bold", "done": "green", "bad": "red", "wait": "yellow", "work": "cyan", "dim": "dim", "hint": "dim"}


class Screen(Protocol):
    """Shows a board."""

    def event(self, event: Event) -> None:
        """The board has one event more."""

    def changed(self) -> None:
        """Something else has changed."""


class LineScreen:
    """A line an event, on standard error; with the run's id before it where there are several."""

    def __init__(self, console: Console, board: Board) -> None:
        self._console = console
        self._board = board
        self._said = ""

    def event(self, event: Event) -> None:
        """Print it."""
        of = f"{event.run_id}  " if len(self._board.runs) > 1 else ""
        self._console.print(clean(f"{of}{line_of(event)}"), markup=False, soft_wrap=True)

    def changed(self) -> None:
        """Say that the connection is lost, or that it is back."""
        if self._board.trouble != self._said:
            self._said = self._board.trouble
            self._console.print(f"waypost: {self._said or 'connected again'}{'; trying again' if self._said else ''}", markup=False)


class TreeScreen:
    """The tree. Use `shown` around what feeds the board; when it ends, the whole tree stays on the terminal."""

    def __init__(self, console: Console, board: Board) -> None:
        self._console = console
        self._board = board
        self._news = asyncio.Event()

    def event(self, event: Event) -> None:  # noqa: ARG002 - the board has it
        """Draw again soon."""
        self._news.set()

    def changed(self) -> None:
        """Draw again soon."""
        self._news.set()

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Draw while the body runs."""
        from rich.live import Live

        live = Live(self._drawing(), console=self._console, auto_refresh=False, transient=False, vertical_overflow="crop")
        with live:
            drawing = asyncio.create_task(self._draw(live))
            try:
                yield
            finally:
                drawing.cancel()
                await asyncio.wait([drawing])
                live.update(self._drawing(), refresh=True)

    async def _draw(self, live: object) -> None:
        from rich.live import Live

        assert isinstance(live, Live)
        while True:
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            live.update(self._drawing(), refresh=True)
            await asyncio.sleep(FRAME_SECONDS)

    def _drawing(self) -> Group:
        from rich.console import Group

        ascii_only = not self._console.encoding.startswith("utf")
        lines = lines_of(self._board, datetime.now(UTC), max(self._console.height - 1, 3))
        return Group(*(_text(line, ascii_only) for line in lines))


def _text(line: Line, ascii_only: bool) -> Text:
    """A line is cut where the window ends, but not a command, which somebody may want to copy."""
    from rich.text import Text

    whole = line.tone == "hint"
    return Text(
        clean(line.plain(ascii_only=ascii_only)), style=_STYLES[line.tone], no_wrap=not whole, overflow="fold" if whole else "ellipsis"
    )
