"""Shows the board while the demo runs: redrawn in place on a terminal, line by line elsewhere. Owns the terminal; asks the person there."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.text import Text

from waypost_cli.demo import screen
from waypost_cli.demo.board import Board
from waypost_cli.demo.rows import Row
from waypost_examples.compliance.model import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

REFRESH_SECONDS = 0.12
CHUNK_BYTES = 4096


class Display:
    """`run` until cancelled; `flush` at the end. `title` may be changed at any time."""

    def __init__(self, board: Board, console: Console, title: str) -> None:
        self.title = title
        self._board = board
        self._console = console
        self._live: Live | None = None
        self._printed = 0
        self._answers = Answers()

    async def run(self) -> None:
        """Keep the terminal up to date. Cancelling leaves the last picture on it."""
        if not self._console.is_terminal:
            await self._print_lines()
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                while True:
                    if live.is_started:
                        self._draw(live)
                    await asyncio.sleep(REFRESH_SECONDS)
            finally:
                self._live = None

    def flush(self) -> None:
        """Print what has not been printed; on a terminal the story so far, so that it can be read after the end."""
        for line in self._new_lines():
            self._console.print(Text(line), soft_wrap=True)

    async def ask(self, row: Row, report: Report) -> tuple[bool, str]:
        """Show exactly what would be filed and ask the person at the terminal. The end of standard input denies."""
        if self._live is not None:
            self._live.stop()
        try:
            self._console.print(_question(row, report))
            while True:
                self._console.print("approve this report? [a]pprove, [d]eny: ", end="", markup=False)
                answer = (await self._answers.next()).strip().lower()
                if answer in ("a", "approve", "y", "yes"):
                    return True, "approved at the terminal"
                if answer in ("d", "deny", "n", "no"):
                    return False, "denied at the terminal"
                if not answer and self._answers.ended:
                    return False, "standard input ended without an answer"
        finally:
            if self._live is not None:
                self._live.start()

    def _draw(self, live: Live) -> None:
        live.update(screen.render(self._board, time.time(), title=self.title, height=self._console.height), refresh=True)

    async def _print_lines(self) -> None:
        while True:
            self.flush()
            await asyncio.sleep(REFRESH_SECONDS)

    def _new_lines(self) -> Iterator[str]:
        fresh = self._board.said - self._printed
        self._printed = self._board.said
        for line in list(self._board.feed)[-fresh:] if fresh else ():
            yield screen.plain(line, time.time())


class Answers:
    """Lines of standard input, without a thread that nobody can stop. Reads the descriptor itself: a buffer in between hides lines."""

    def __init__(self) -> None:
        self.ended = False
        self._read = b""

    async def next(self) -> str:
        """The next line, without its end; "" at the end of input."""
        while b"\n" not in self._read and not self.ended:
            await self._readable()
            chunk = os.read(sys.stdin.fileno(), CHUNK_BYTES)
            self._read += chunk
            self.ended = not chunk
        line, _, self._read = self._read.partition(b"\n")
        return line.decode("utf-8", "replace")

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        try:
            loop.add_reader(sys.stdin.fileno(), readable.set)
        except PermissionError:
            return  # a regular file: epoll refuses it because it is always readable
        try:
            await readable.wait()
        finally:
            loop.remove_reader(sys.stdin.fileno())


def _question(row: Row, report: Report) -> Panel:
    lines = [
        f"case {report.case}, account {report.account}, {report.kind.replace('_', ' ')}",
        f"risk {report.risk:.2f}, total {report.total}, transactions {', '.join(report.transactions)}",
        *(f"  - {reason}" for reason in report.reasons),
        f"approval {row.approval_id} is bound to exactly these values",
    ]
    return Panel(Text("\n".join(lines)), title=f"{row.officer or 'an officer'} must decide", border_style="magenta")
