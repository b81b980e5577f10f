"""`ctx.log`: structured logging that says each thing once, however often the code is replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog


class RunLog:
    """A structlog logger bound to the run. Silent while `silent()` is true (during replay, after eviction).

    The message is constant, data goes in fields: `ctx.log.info("case opened", case=case.id)`.
    """

    __slots__ = ("_logger", "_silent")

    def __init__(self, silent: Callable[[], bool], logger: Any = None, /, **bound: object) -> None:
        self._silent = silent
        self._logger = (logger or structlog.get_logger("waypost.agent")).bind(**bound)

    def bind(self, **fields: object) -> RunLog:
        """A logger that adds these fields to each line."""
        return RunLog(self._silent, self._logger, **fields)

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
