"""Facets `keys`, `definitions` and `streams`: small tables of the coordinator's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waypost_io.store import queries
from waypost_io.store.pg.link import Link
from waypost_proto.codec import decode, encode
from waypost_proto.ids import RunId
from waypost_proto.registry import AgentDefinition, ToolDefinition

_KEYS = queries.load("idempotency")
_DEFINITIONS = queries.load("definitions")
_STREAMS = queries.load("streams")

Key = tuple[str, str, str]


class PostgresKeys:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def reserve(self, requests: Sequence[tuple[str, str, str, RunId, str]]) -> dict[Key, tuple[RunId, str]]:
        wanted: dict[Key, tuple[RunId, str]] = {}
        for tenant, agent, key, run_id, digest in requests:
            wanted.setdefault((tenant, agent, key), (run_id, digest))
        if not wanted:
            return {}
        columns = zip(*((*key, *value) for key, value in wanted.items()), strict=True)
        reserved = {}
        for row in await self._link.fetch(_KEYS["reserve"], *columns):
            reserved[row["tenant"], row["agent"], row["key"]] = (RunId(str(row["run_id"])), row["digest"])
        taken = wanted.keys() - reserved.keys()
        if taken:
            for row in await self._link.fetch(_KEYS["reserved"], *zip(*taken, strict=True)):
                reserved[row["tenant"], row["agent"], row["key"]] = (RunId(str(row["run_id"])), row["digest"])
        return reserved


class PostgresDefinitions:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def put(self, agents: Sequence[AgentDefinition], tools: Sequence[ToolDefinition]) -> None:
        bodies = {("agent", agent.name, agent.build): encode(agent) for agent in agents}
        bodies |= {("tool", tool.name, ""): encode(tool) for tool in tools}
        if bodies:
            columns = zip(*((*key, bodies[key]) for key in sorted(bodies)), strict=True)
            await self._link.execute(_DEFINITIONS["put"], *columns)

    async def agents(self) -> list[AgentDefinition]:
        found = await self._link.fetch(_DEFINITIONS["all"], "agent")
        return [decode(AgentDefinition, row["body"]) for row in found]

    async def tools(self) -> list[ToolDefinition]:
        found = await self._link.fetch(_DEFINITIONS["all"], "tool")
        return [decode(ToolDefinition, row["body"]) for row in found]


class PostgresStreams:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def load(self) -> dict[str, tuple[str, int]]:
        found = await self._link.fetch(_STREAMS["load"])
        return {row["name"]: (row["created"], row["last_seq"]) for row in found}

    async def save(self, marks: Mapping[str, tuple[str, int]]) -> None:
        if marks:
            columns = zip(*((name, *marks[name]) for name in sorted(marks)), strict=True)
            await self._link.execute(_STREAMS["save"], *columns)
