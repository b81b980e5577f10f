"""Notices tools that block the event loop, from a thread of its own. Owns the noticing; nothing can stop such code from outside.

While the loop is blocked the gateway says nothing to anybody: leases and messages lapse, and other gateways take over what may be
repeated. So it is said loudly, with the stack of the code that blocks.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Self

import structlog

from waypost_gateway.inflight import InFlight
from waypost_gateway.metrics import Metrics

LOOK_SECONDS = 0.5
BLOCKED_SECONDS = 2.0
"""From when on it is said: well below the leases. 0: nobody watches (a loop on virtual time)."""
STACK_LINES = 12
NAMED_CALLS = 8

_log = structlog.get_logger(__name__)


class Watchdog:
    """Watches the running loop while its context is open."""

    def __init__(self, inflight: InFlight, metrics: Metrics, *, blocked_seconds: float = BLOCKED_SECONDS) -> None:
        self._inflight = inflight
        self._metrics = metrics
        self._blocked_seconds = blocked_seconds
        self._over = threading.Event()
        self._ticked_at = time.monotonic()
        self._said = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._ticked_at = time.monotonic()
        if self._blocked_seconds > 0:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()

    def _tick(self) -> None:
        if self._said:
            self._said = False
            _log.warning("the event loop goes on", blocked_seconds=round(time.monotonic() - self._ticked_at, 1))
        self._ticked_at = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(min(LOOK_SECONDS, self._blocked_seconds / 2)):
            try:
                self._loop.call_soon_threadsafe(self._tick)
            except RuntimeError:
                return  # the loop is closed
            if not self._said and time.monotonic() - self._ticked_at > self._blocked_seconds:
                self._said = True
                self._say()

    def _say(self) -> None:
        frame = sys._current_frames().get(self._loop_thread)
        stack = traceback.format_stack(frame)[-STACK_LINES:] if frame is not None else []
        self._metrics.blocked.inc()
        calls = [f"{work.call.tool} {work.call.run_id}/{work.call.call_id}" for work in self._inflight if work.call is not None]
        _log.error(
            "a tool blocks the event loop: nothing else is handled, and leases lapse; make it a plain function, or await",
            calls=calls[:NAMED_CALLS],
            stack="".join(stack),
        )
