"""Reads Postgres past every link and service: what the log and the ledger say at a moment. Waits while the database is away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self, TypeVar

import asyncpg

from waypost_io.store.pg.link import prepare

T = TypeVar("T")
AWAY = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_PAUSE_SECONDS = 0.2
_STATEMENT_SECONDS = 60.0


class Observer:
    """Use as an async context manager. One connection, opened again when it is lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._drop()

    async def fetch(self, query: str, *values: Any, patience_seconds: float = 120.0) -> list[Any]:
        """The rows of a query. Raises `TimeoutError` when the database stays away for so long."""
        return await self._patiently(lambda connection: connection.fetch(query, *values), patience_seconds)

    async def fetchval(self, query: str, *values: Any, patience_seconds: float | None = 120.0) -> Any:
        """One value. Without end if `patience_seconds` is None."""
        return await self._patiently(lambda connection: connection.fetchval(query, *values), patience_seconds)

    async def _patiently(self, ask: Callable[[Any], Awaitable[T]], seconds: float | None) -> T:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    return await self._once(ask)
                except AWAY:
                    await asyncio.sleep(_PAUSE_SECONDS)

    async def _once(self, ask: Callable[[Any], Awaitable[T]]) -> T:
        async with self._turn:
            try:
                return await ask(await self._connected())
            except BaseException:  # cut off in the middle, it cannot be used again
                self._drop()
                raise

    async def _connected(self) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._url, timeout=2, command_timeout=_STATEMENT_SECONDS)
            await prepare(self._connection)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
