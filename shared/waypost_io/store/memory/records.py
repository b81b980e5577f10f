"""Facets `keys`, `definitions`, `streams`, `blobs`, `dead` and `reads` in memory."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from waypost_io.store.chunks import check_chunk, chunks_of, joined
from waypost_io.store.letters import EXCERPT_BYTES, mended, view
from waypost_io.store.memory.database import DeadRecord, MemoryDatabase, check_text
from waypost_io.store.ports import NoticeRow, RunFilter, RunGlance, RunRow
from waypost_proto.api import DeadView
from waypost_proto.errors import NotFound
from waypost_proto.ids import RunId, digest_of, unix_ms_of
from waypost_proto.registry import AgentDefinition, ToolDefinition

Key = tuple[str, str, str]
_ID_PREFIX = re.compile(r"[0-9a-f]{4}[0-9a-f-]{0,32}")


class MemoryKeys:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def reserve(self, requests: Sequence[tuple[str, str, str, RunId, str]]) -> dict[Key, tuple[RunId, str]]:
        self._db.reach()
        for request in requests:
            check_text(request)
        return {
            (tenant, agent, key): self._db.keys.setdefault((tenant, agent, key), (run_id, digest))
            for tenant, agent, key, run_id, digest in requests
        }


class MemoryDefinitions:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def put(self, agents: Sequence[AgentDefinition], tools: Sequence[ToolDefinition]) -> None:
        self._db.reach()
        for agent in agents:
            self._db.agents.pop((agent.name, agent.build), None)  # put again, it comes last
            self._db.agents[agent.name, agent.build] = agent
        self._db.tools.update((tool.name, tool) for tool in tools)

    async def agents(self) -> list[AgentDefinition]:
        self._db.reach()
        return sorted(self._db.agents.values(), key=lambda agent: agent.name)

    async def tools(self) -> list[ToolDefinition]:
        self._db.reach()
        return sorted(self._db.tools.values(), key=lambda tool: tool.name)


class MemoryStreams:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def load(self) -> dict[str, tuple[str, int]]:
        self._db.reach()
        return dict(self._db.streams)

    async def save(self, marks: Mapping[str, tuple[str, int]]) -> None:
        self._db.reach()
        self._db.streams.update(marks)


class MemoryBlobs:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def put(self, data: bytes) -> str:
        self._db.reach()
        sha256 = digest_of(data)
        parts = chunks_of(data)
        self._db.blobs[sha256] = {index: (len(parts), part) for index, part in enumerate(parts)}
        return sha256

    async def put_chunk(self, sha256: str, index: int, chunks: int, data: bytes) -> None:
        self._db.reach()
        check_chunk(sha256, index, chunks, data)
        self._db.blobs.setdefault(sha256, {}).setdefault(index, (chunks, data))

    async def get(self, sha256: str) -> bytes:
        self._db.reach()
        parts = self._db.blobs.get(sha256, {})
        return joined(sha256, [parts[index] for index in sorted(parts)])

    async def get_chunk(self, sha256: str, index: int) -> tuple[bytes, int]:
        self._db.reach()
        if index not in self._db.blobs.get(sha256, {}):
            raise NotFound(f"payload {sha256} has no chunk {index}")
        chunks, data = self._db.blobs[sha256][index]
        return data, chunks


class MemoryDead:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def add(
        self, *, origin: str, subject: str, reason: str, body: bytes, headers: Mapping[str, str], source: str, run_id: str | None
    ) -> int:
        self._db.reach()
        self._db.failures.pop(mended(source), None)
        for dead_id, record in self._db.dead.items():
            if record.source == mended(source):
                return dead_id
        dead_id, self._db.next_dead_id = self._db.next_dead_id, self._db.next_dead_id + 1
        self._db.dead[dead_id] = DeadRecord(
            at=self._db.clock(),
            source=mended(source),
            origin=mended(origin),
            subject=mended(subject),
            reason=mended(reason),
            run_id=None if run_id is None else mended(run_id),
            headers={mended(name): mended(value) for name, value in headers.items()},
            body=body,
        )
        return dead_id

    async def count_failure(self, source: str) -> int:
        self._db.reach()
        count = self._db.failures.get(mended(source), 0) + 1
        self._db.failures[mended(source)] = count
        return count

    async def list(self, *, after: int = 0, limit: int = 100) -> list[DeadView]:
        self._db.reach()
        return [self._view(dead_id) for dead_id in sorted(self._db.dead) if dead_id > after][:limit]

    async def get(self, dead_id: int) -> tuple[DeadView, str, bytes, dict[str, str]]:
        self._db.reach()
        record = self._db.dead.get(dead_id)
        if record is None:
            raise NotFound(f"no dead letter {dead_id}; `waypost dead list` shows those there are")
        return self._view(dead_id), record.subject, record.body, dict(record.headers)

    async def remove(self, dead_id: int) -> None:
        self._db.reach()
        self._db.dead.pop(dead_id, None)

    def _view(self, dead_id: int) -> DeadView:
        record = self._db.dead[dead_id]
        row = {
            "dead_id": dead_id,
            "origin": record.origin,
            "reason": record.reason,
            "at": record.at,
            "size": len(record.body),
            "excerpt": record.body[:EXCERPT_BYTES],
            "run_id": record.run_id,
        }
        return view(row)


class MemoryReads:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def get(self, run_id: RunId) -> RunRow | None:
        self._db.reach()
        return self._db.runs.get(run_id)

    async def glance(self, run_ids: Sequence[RunId]) -> list[RunGlance]:
        self._db.reach()
        found = [run for run_id in dict.fromkeys(run_ids) if (run := self._db.runs.get(run_id)) is not None]
        return [RunGlance(**{name: getattr(run, name) for name in RunGlance.__slots__}) for run in found]

    async def notices(self, run_id: RunId) -> list[NoticeRow]:
        self._db.reach()
        found = [notice for notice in self._db.notices.values() if notice.run_id == run_id]
        return sorted(found, key=lambda notice: (notice.at, notice.notice_id))

    async def list(self, query: RunFilter) -> list[RunRow]:
        self._db.reach()
        doubtful = {run_id for (run_id, _), row in self._db.ledger.items() if row.state == "doubt"} if query.attention else set()
        found = [run for run in self._db.runs.values() if _selected(run, query) and (not query.attention or _needs(run, doubtful))]
        return sorted(found, key=lambda run: run.run_id, reverse=True)[: query.limit]


def _selected(run: RunRow, query: RunFilter) -> bool:
    created = unix_ms_of(run.run_id) / 1000
    return (
        query.tenant in (None, run.tenant)
        and query.agent in (None, run.agent)
        and (not query.statuses or run.status in query.statuses)
        and query.labels.items() <= run.labels.items()
        and query.parent in (None, run.parent)
        and (query.text is None or _mentions(run, query.text))
        and (query.before is None or run.run_id < query.before)
        and _within(created, query.created_from, query.created_to)
        and _within(run.updated_at, query.updated_from, query.updated_to)
    )


def _needs(run: RunRow, doubtful: set[RunId]) -> bool:
    return run.open and (run.status in ("paused", "waiting_approval") or run.run_id in doubtful)


def _within(at: float, since: float | None, until: float | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)


def _mentions(run: RunRow, text: str) -> bool:
    key, equals, value = text.partition("=")
    return (
        (run.correlation_id != run.run_id and run.correlation_id.startswith(text))
        or (run.idempotency_key or "").startswith(text)
        or (bool(key and equals) and run.labels.get(key) == value)
        or (_ID_PREFIX.fullmatch(text) is not None and run.run_id.replace("-", "").startswith(text.replace("-", "")))
    )
