"""Brings every anchor up to the newest signed head, while this process is the active audit logger. Owns the pace and the trying again.

An anchor gets the newest head and not those in between: the newest one proves them. How far it has come is in the database, so that another
process goes on from there; a head that was kept just before a crash is kept again, which changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Self

import structlog

from waypost_audit.anchors.settings import NamedAnchor
from waypost_audit.metrics import AnchorMetrics
from waypost_io import faults
from waypost_io.audit.anchoring import record_of
from waypost_io.store.ports import AnchorRow, Audit
from waypost_io.threads import DaemonThreads
from waypost_proto.errors import Conflict, TransientError

LOOK_SECONDS = 1.0
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0
CONFLICT_SECONDS = 60.0
"""A place that contradicts the log is looked at again after this: a person must decide."""
LAST_SECONDS = 4.0
"""For the last head, at a stop."""

_log = structlog.get_logger(__name__)


class AnchorKeeper:
    """All anchors of one process. It works inside `async with`; call `finish` when the logger is done."""

    def __init__(self, audit: Audit, anchors: Sequence[NamedAnchor], active: Callable[[], bool], metrics: AnchorMetrics) -> None:
        self._audit = audit
        self._anchors = anchors
        self._active = active
        self._metrics = metrics
        self._threads = {each.name: DaemonThreads(1, name=f"anchor {each.name}") for each in anchors}
        """One for each: what an anchor does cannot be cancelled, and it is not asked twice at a time."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._keep(each), name=f"anchor {each.name}") for each in self._anchors]
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop asking. What an anchor is doing goes on in its thread."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def finish(self) -> None:
        """One more head for each anchor, the last one, if it takes it in time."""
        try:
            async with asyncio.timeout(LAST_SECONDS), asyncio.TaskGroup() as group:
                for each in self._anchors:
                    group.create_task(self._last(each))
        except TimeoutError:
            _log.warning("an anchor did not get the last head in time; it gets it from the next audit logger")

    async def _last(self, each: NamedAnchor) -> None:
        try:
            await self._put(each, await self._position(each))
        except Exception as error:  # noqa: BLE001 - an anchor may be anybody's code
            self._failed(each, error)

    async def _keep(self, each: NamedAnchor) -> None:
        retry = FIRST_RETRY_SECONDS
        while True:
            pause = LOOK_SECONDS
            if self._active():
                try:
                    if await self._put(each, await self._position(each)):
                        pause = max(each.every_seconds, LOOK_SECONDS)
                    retry = FIRST_RETRY_SECONDS
                except Conflict as error:
                    _log.error("an anchor contradicts the audit log", anchor=each.name, error=str(error))
                    self._metrics.conflict(each.name)
                    pause = CONFLICT_SECONDS
                except TransientError:
                    pause = FIRST_RETRY_SECONDS  # the database; the logger says so
                except Exception as error:  # noqa: BLE001 - an anchor may be anybody's code
                    self._failed(each, error)
                    pause, retry = retry, min(2 * retry, LAST_RETRY_SECONDS)
            await asyncio.sleep(pause)

    async def _position(self, each: NamedAnchor) -> AnchorRow | None:
        return next((row for row in await self._audit.anchors() if row.name == each.name), None)

    async def _put(self, each: NamedAnchor, there: AnchorRow | None) -> bool:
        """Give the anchor the newest head, if it is newer than what it has."""
        newest = await self._audit.newest_head()
        self._metrics.seen(each.name, there, newest)
        if newest is None or (there is not None and there.size >= newest.size):
            return False
        record = record_of(newest.note, newest.key_id)
        try:
            place = await asyncio.get_running_loop().run_in_executor(self._threads[each.name], each.anchor.put, record)
        except Conflict:
            latest = await self._audit.newest_head()
            if latest is not None and latest.size > newest.size:  # ours was old: we were stopped, and another logger has anchored since
                return False
            raise
        faults.point("audit.anchor.after")
        row = AnchorRow(name=each.name, size=newest.size, anchored_at=time.time(), place=place)
        await self._audit.anchored(row)
        self._metrics.seen(each.name, row, newest)
        _log.info("a head was anchored", anchor=each.name, size=newest.size, place=place)
        return True

    def _failed(self, each: NamedAnchor, error: Exception) -> None:
        self._metrics.failed(each.name)
        _log.warning("a head could not be anchored, trying again", anchor=each.name, error=f"{type(error).__name__}: {error}")
