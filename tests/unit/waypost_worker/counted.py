"""A local effect for tests: it counts how often it ran, and may be held."""

from __future__ import annotations

import asyncio


class Counted:
    """A local effect that counts how often it ran, and may be held."""

    def __init__(self) -> None:
        self.runs = 0
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self) -> int:
        self.runs += 1
        mine = self.runs
        await self.release.wait()
        return mine
