"""`ctx.log`: structured logging that says each thing once, however often the code is replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog


class RunLog:
    """A structlog logger bound to the run. Silent while `silent()` is true (during replay, after eviction).

    The message is constant, data goes in fields: `ctx.log.info("case opened", case=case.id)`.
    """

    __slots__ = ("_bound", "_made", "_silent")

    def __init__(self, silent: Callable[[], bool], /, **bound: object) -> None:
        self._silent = silent
        self._bound = bound
        self._made: Any = None

    def mute(self) -> None:
        """Silent from now on, whatever `silent` would say, and without a reference to it."""
        self._silent = _always

    @property
    def _logger(self) -> Any:
        """Made for the first line: most runs write none."""
        if self._made is None:
            self._made = structlog.get_logger("waypost.agent").bind(**self._bound)
        return self._made

    def bind(self, **fields: object) -> RunLog:
        """A logger that adds these fields to each line."""
        return RunLog(self._silent, **{**self._bound, **fields})

    def debug(self, event: str, **fields: object) -> None:
        if not self._silent():
            self._logger.debug(event, **fields)

    def info(self, event: str, **fields: object) -> None:
        if not self._silent():
            self._logger.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        if not self._silent():
            self._logger.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        if not self._silent():
            self._logger.error(event, **fields)

    def exception(self, event: str, **fields: object) -> None:
        """Like `error`, with the exception being handled."""
        if not self._silent():
            self._logger.error(event, **fields)


def _always() -> bool:
    return True
