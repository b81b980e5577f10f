"""Facet `blobs`: values too large for a message, in chunks of `limits.BLOB_CHUNK_BYTES`."""

from __future__ import annotations

from waypost_io.store import queries
from waypost_io.store.chunks import check_chunk, chunks_of, joined
from waypost_io.store.pg.link import Link
from waypost_proto.errors import NotFound
from waypost_proto.ids import digest_of

_SQL = queries.load("blobs")


class PostgresBlobs:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(self, data: bytes) -> str:
        sha256 = digest_of(data)
        chunks = chunks_of(data)
        await self._link.execute(_SQL["put"], sha256, len(chunks), list(range(len(chunks))), chunks)
        return sha256

    async def put_chunk(self, sha256: str, index: int, chunks: int, data: bytes) -> None:
        check_chunk(sha256, index, chunks, data)
        await self._link.execute(_SQL["put_chunk"], sha256, index, chunks, data)

    async def get(self, sha256: str) -> bytes:
        found = await self._link.fetch(_SQL["get"], sha256)
        return joined(sha256, [(row["chunks"], row["data"]) for row in found])

    async def get_chunk(self, sha256: str, index: int) -> tuple[bytes, int]:
        row = await self._link.fetchrow(_SQL["get_chunk"], sha256, index)
        if row is None:
            raise NotFound(f"payload {sha256} has no chunk {index}")
        return row["data"], row["chunks"]
