"""The events of runs and of the children that they start, until the runs that were named have ended. Lost connections are outlived."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

from waypost_cli.watched.board import Board
from waypost_core.chronicle import Chronicle
from waypost_proto.errors import NotFound, TransientError
from waypost_proto.events import Event
from waypost_proto.ids import RunId

if TYPE_CHECKING:
    from waypost.client import Client

GIVE_UP_SECONDS = 600.0
"""How long servers may be away before a watch ends with exit code 3."""
RETRY_SECONDS = 1.0
BEGIN_SECONDS = 0.3
"""Between looks for a child that was asked for and has not begun."""


class Follower:
    """Feeds a board. `on_event` is called with each event after the board has it, `on_change` whenever there is something else to show."""

    def __init__(
        self,
        client: Client,
        board: Board,
        on_event: Callable[[Event], None],
        on_change: Callable[[], None],
        *,
        patience: float = GIVE_UP_SECONDS,
    ) -> None:
        self._client = client
        self._board = board
        self._on_event = on_event
        self._on_change = on_change
        self._patience = patience
        self._away: dict[RunId, str] = {}
        """Runs whose events do not arrive, with the reason."""
        self._children: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow until every run that was named has ended.

        Raises `NotFound` for one that does not exist, and `Unreachable` when servers have been away for too long.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                await asyncio.wait([tasks.create_task(self._follow(run_id, tasks)) for run_id in self._board.roots])
                for child in self._children:  # what was named has ended: nobody waits for the rest
                    child.cancel()
        except* (NotFound, TransientError) as group:
            raise _first(group) from None

    async def _follow(self, run_id: RunId, tasks: asyncio.TaskGroup) -> None:
        """One run's events. What was lost is read again from the log, so nothing is missed and nothing comes twice."""
        tale = self._board.runs[run_id]
        loop = asyncio.get_running_loop()
        lost_at: float | None = None
        while tale.ended is None:
            try:
                await self._read(tale, tasks)
                lost_at = None
            except NotFound:
                if run_id in self._board.roots:
                    raise
                if not self._board.awaited(run_id):
                    return
                await asyncio.sleep(BEGIN_SECONDS)
            except TransientError as error:
                lost_at = loop.time() if lost_at is None or run_id not in self._away else lost_at
                if loop.time() - lost_at > self._patience:
                    raise
                self._is_away(run_id, str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _read(self, tale: Chronicle, tasks: asyncio.TaskGroup) -> None:
        """Its events until it has ended. Raises `NotFound`, `Unreachable`."""
        async with aclosing(self._client.events(tale.run_id, after=tale.seq, follow=True)) as events:
            async for event in events:
                self._is_back(tale.run_id)
                for child in self._board.feed(event):
                    self._children.add(tasks.create_task(self._follow(child, tasks)))
                self._on_event(event)
        if tale.ended is None:
            await asyncio.sleep(BEGIN_SECONDS)  # the stream ends with the run; whoever ends it earlier is asked again, not at once

    def _is_away(self, run_id: RunId, why: str) -> None:
        self._away[run_id] = why
        self._say()

    def _is_back(self, run_id: RunId) -> None:
        if self._away.pop(run_id, None) is not None:
            self._say()

    def _say(self) -> None:
        self._board.trouble = next(iter(self._away.values()), "")
        self._on_change()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
