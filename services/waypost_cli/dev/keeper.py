"""Starts an embedded server again whenever it ends, on the same port."""

from __future__ import annotations

import asyncio

from waypost_cli.dev.notices import Notice, Notify
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres, NotReady

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0


class ServerKeeper:
    """Watches a started server until cancelled. Stopping the server is its owner's business."""

    def __init__(self, name: str, server: EmbeddedNats | EmbeddedPostgres, notify: Notify) -> None:
        self.name = name
        self.restarts = 0
        self._server = server
        self._notify = notify

    async def run(self) -> None:
        """Restart it after every end; when it cannot start, try again after a growing pause."""
        while True:
            code = await self._server.wait()
            self._notify(Notice(self.name, "ended", f"code {code}; starting it again"))
            await self._start()

    async def _start(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._server.start()
            except NotReady as error:
                self._notify(Notice(self.name, "ended", f"{error}; again in {pause:.1f} s"))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                self.restarts += 1
                self._notify(Notice(self.name, "ready", f"pid {self._server.pid}"))
                return
