"""Handles of scheduled callbacks: asyncio's own, made without the debug bookkeeping; timers know their id."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from waypost_core.loop._loop import DeterministicLoop


class Handle(asyncio.Handle):
    """`asyncio.Handle` fills in the attributes one by one through methods of the loop; this is the hot path."""

    __slots__ = ()

    _context: contextvars.Context

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        self._context = context if context is not None else contextvars.copy_context()
        self._loop = loop
        self._callback = callback
        self._args = args
        self._cancelled = False
        self._repr = None
        self._source_traceback = None


class Timer(asyncio.TimerHandle):
    """A timer of the run. Cancelling it before it fired tells the loop, so that the world can forget it."""

    __slots__ = ("timer_id",)

    _loop: DeterministicLoop
    timer_id: str | None

    def cancel(self) -> None:
        if not self._cancelled:
            self._loop.forget_timer(self)
        super().cancel()
