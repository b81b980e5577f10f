"""Files that a gateway reads again while it runs: when they change, and at SIGHUP. Owns the watching, not what is read."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from waypost_gateway.metrics import Metrics
from waypost_proto.errors import Misconfigured

LOOK_SECONDS = 0.5

Mark = tuple[int, int, int]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """A file (None: nothing to watch) and what reads it again, raising `Misconfigured` when it cannot be used."""

    what: str
    file: Path | None
    reload: Callable[[], None]


class Reloader:
    """`run` it in a task."""

    def __init__(self, watched: Sequence[Watched], metrics: Metrics) -> None:
        self._watched = [each for each in watched if each.file is not None]
        self._metrics = metrics
        self._marks = {each.what: _mark(each.file) for each in self._watched}
        self._hup = False

    async def run(self) -> None:
        """Look until cancelled. A file that cannot be used is said once for each change of it."""
        loop = asyncio.get_running_loop()
        try:
            loop.add_signal_handler(signal.SIGHUP, self._on_hup)
        except (NotImplementedError, RuntimeError, ValueError):  # not the main thread (tests), or no such signal
            _log.debug("SIGHUP cannot be listened to here")
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self.look()
        finally:
            try:
                loop.remove_signal_handler(signal.SIGHUP)
            except (NotImplementedError, RuntimeError, ValueError):
                _log.debug("SIGHUP was not listened to")

    def look(self) -> None:
        """Read again what has changed, or everything after a SIGHUP."""
        everything, self._hup = self._hup, False
        for each in self._watched:
            mark = _mark(each.file)
            if not everything and mark == self._marks[each.what]:
                continue
            self._marks[each.what] = mark
            try:
                each.reload()
            except Misconfigured as error:
                self._metrics.reload(each.what, "refused")
                _log.error("a file that changed cannot be used, what was read before stays in force", what=each.what, error=str(error))
            else:
                self._metrics.reload(each.what, "done")
                _log.info("read again", what=each.what)

    def _on_hup(self) -> None:
        self._hup = True


def _mark(file: Path | None) -> Mark | None:
    """What changes with the file, also when it is replaced by another."""
    try:
        stat = file.stat() if file is not None else None
    except OSError:
        return None
    return None if stat is None else (stat.st_mtime_ns, stat.st_size, stat.st_ino)
