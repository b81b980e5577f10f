"""Facet `dead`: the last resort for what cannot be processed. It must take anything, so text that Postgres cannot hold is mended."""

from __future__ import annotations

from collections.abc import Mapping

from waypost_io.store import queries
from waypost_io.store.letters import mended, view
from waypost_io.store.pg.link import Link
from waypost_proto.api import DeadView
from waypost_proto.codec import decode, encode
from waypost_proto.errors import NotFound

_SQL = queries.load("dead")
_FAILURES = queries.load("dead_failures")


class PostgresDead:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def add(
        self, *, origin: str, subject: str, reason: str, body: bytes, headers: Mapping[str, str], source: str, run_id: str | None
    ) -> int:
        packed = encode({mended(name): mended(value) for name, value in headers.items()})
        texts = [mended(text) for text in (source, origin, subject, reason)]
        dead_id: int = await self._link.fetchval(_SQL["add"], *texts, None if run_id is None else mended(run_id), packed, body)
        await self._link.execute(_FAILURES["forget"], texts[0])
        return dead_id

    async def count_failure(self, source: str) -> int:
        failures: int = await self._link.fetchval(_FAILURES["count_failure"], mended(source))
        return failures

    async def list(self, *, after: int = 0, limit: int = 100) -> list[DeadView]:
        return [view(row) for row in await self._link.fetch(_SQL["list"], after, limit)]

    async def get(self, dead_id: int) -> tuple[DeadView, str, bytes, dict[str, str]]:
        row = await self._link.fetchrow(_SQL["get"], dead_id)
        if row is None:
            raise NotFound(f"no dead letter {dead_id}; `waypost dead list` shows those there are")
        return view(row), row["subject"], row["body"], decode(dict[str, str], row["headers"])

    async def remove(self, dead_id: int) -> None:
        await self._link.execute(_SQL["remove"], dead_id)
