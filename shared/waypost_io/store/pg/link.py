"""Connections to Postgres: a pool for everything, and a lane of its own for what must happen in the order it was asked for.

Owns connections, time limits and the conversion of timestamps (Unix seconds as float, to the microsecond). Nothing here repeats a
statement. After a connection is lost the next call opens another, so a restart of Postgres needs no restart of ours.

Behind a transaction pooler (PgBouncer): no session state is used, so statements may land on any backend, but the pooler must support
prepared statements (PgBouncer 1.21 and later, `max_prepared_statements`), because asyncpg names those that it caches.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from waypost_io.store.pg.errors import BROKEN, translated
from waypost_proto.errors import Unreachable

Record = asyncpg.Record
Connection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"

_EPOCH_MICROS = 946_684_800_000_000
"""Postgres counts microseconds from the year 2000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """Where and how to connect. `timeout_seconds` bounds connecting, waiting for a free connection, and each statement."""

    url: str
    pool_size: int = 8
    application_name: str = "waypost"
    timeout_seconds: float = 15.0


class _Plain(asyncpg.Connection):
    """A pooled connection that is not reset when it is given back: we set no session state, and a reset is a round trip."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class Link:
    """The pool. `open` and `close` are idempotent."""

    def __init__(self, config: LinkConfig) -> None:
        self.config = config
        self._pool: asyncpg.Pool[Record] | None = None

    async def open(self) -> None:
        """Connect. Raises `Unreachable`, or `Misconfigured` when the server refuses the user or the database."""
        if self._pool is not None:
            return
        with translated():
            self._pool = await asyncpg.create_pool(
                self.config.url,
                min_size=0,
                max_size=self.config.pool_size,
                timeout=self.config.timeout_seconds,
                command_timeout=self.config.timeout_seconds,
                init=prepare,
                connection_class=_Plain,
                server_settings={"application_name": self.config.application_name},
            )

    async def close(self) -> None:
        """Close every connection; those still in use are cut after the time limit."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        with translated():
            try:
                await asyncio.wait_for(pool.close(), self.config.timeout_seconds)
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for several statements. What fails inside is raised translated."""
        if self._pool is None:
            raise Unreachable("the store is not open; use it in `async with`")
        with translated():
            async with self._pool.acquire(timeout=self.config.timeout_seconds) as connection:
                try:
                    yield connection
                except BROKEN:
                    connection.terminate()  # what it is doing is anyone's guess; the pool opens another
                    raise

    async def fetch(self, query: str, *values: Any) -> list[Record]:
        async with self.connection() as connection:
            return await connection.fetch(query, *values)

    async def fetchrow(self, query: str, *values: Any) -> Record | None:
        async with self.connection() as connection:
            return await connection.fetchrow(query, *values)

    async def fetchval(self, query: str, *values: Any) -> Any:
        async with self.connection() as connection:
            return await connection.fetchval(query, *values)

    async def execute(self, query: str, *values: Any) -> None:
        async with self.connection() as connection:
            await connection.execute(query, *values)


class Lane:
    """One connection of its own, opened when first used: statements reach the database in the order in which `fetch` was called."""

    def __init__(self, config: LinkConfig) -> None:
        self._config = config
        self._connection: asyncpg.Connection[Record] | None = None
        self._turn = asyncio.Lock()  # first come, first served

    async def fetch(self, query: str, values: Sequence[Any]) -> list[Record]:
        """Run one statement when it is its turn. Cancelled, timed out or cut off, it may have taken effect; the next turn comes only
        after this one is over, or its connection is closed."""
        async with self._turn:
            with translated():
                connection = self._connection
                if connection is None or connection.is_closed():
                    connection = self._connection = await self._connect()
                try:
                    return await connection.fetch(query, *values)
                except BROKEN:
                    self._drop()
                    raise

    async def close(self) -> None:
        """Wait for the statement under way, then close. Idempotent."""
        async with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None and not connection.is_closed():
                with translated():
                    await connection.close(timeout=self._config.timeout_seconds)

    async def _connect(self) -> asyncpg.Connection[Record]:
        connection: asyncpg.Connection[Record] = await asyncpg.connect(
            self._config.url,
            timeout=self._config.timeout_seconds,
            command_timeout=self._config.timeout_seconds,
            server_settings={"application_name": f"{self._config.application_name} commit"},
        )
        try:
            await prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


async def prepare(connection: Any) -> None:
    """Make timestamps floats. Postgres keeps microseconds; so does this conversion, in both directions."""
    await connection.set_type_codec("timestamptz", schema="pg_catalog", encoder=_to_micros, decoder=_to_seconds, format="tuple")


def _to_micros(seconds: float) -> tuple[int]:
    return (round(seconds * 1e6) - _EPOCH_MICROS,)


def _to_seconds(micros: tuple[int]) -> float:
    return (micros[0] + _EPOCH_MICROS) / 1e6
