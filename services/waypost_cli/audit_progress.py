"""Progress of long checks and exports, on standard error: a bar for people, a line now and then where nobody sees a bar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from waypost_cli.output import console, note

Told = Callable[[int, int], None]
LINE_SECONDS = 10.0


@contextmanager
def progress(what: str) -> Iterator[Told]:
    """A function to tell leaves done and leaves in all."""
    if not sys.stderr.isatty():
        yield _Lines(what).tell
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(to_stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """A line every so often, and none for what is quick."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._at = time.monotonic()

    def tell(self, done: int, total: int) -> None:
        if time.monotonic() - self._at >= LINE_SECONDS:
            self._at = time.monotonic()
            note(f"{self._what}: {done} of {total} leaves")
