"""The second look at an agent's allow-list, at the place that acts. Owns a cache of the definitions; the coordinator owns the definitions.

A tool call does not say which build of the agent asked, so a tool is allowed when any known build of the agent lists it: a run goes
on under the build that started it, whatever a later one lists. What is not listed is denied, and an unknown agent lists nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

from waypost_io.store.ports import Definitions
from waypost_proto.errors import TransientError

FRESH_SECONDS = 30.0
"""After this long the definitions are read again although everything asked for was allowed."""
MIN_RELOAD_SECONDS = 1.0
"""Refusals read the definitions again first, at most this often together: a flood of forged calls must not become one of queries."""

_log = structlog.get_logger(__name__)


class AllowList:
    """Which tools each agent may call. One per gateway; safe for many tasks at once."""

    def __init__(
        self,
        definitions: Definitions,
        *,
        monotonic: Callable[[], float],
        fresh_seconds: float = FRESH_SECONDS,
        min_reload_seconds: float = MIN_RELOAD_SECONDS,
    ) -> None:
        self._definitions = definitions
        self._monotonic = monotonic
        self._fresh_seconds = fresh_seconds
        self._min_reload_seconds = min_reload_seconds
        self._tools: Mapping[str, frozenset[str]] = {}
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    def surely_allows(self, agent: str, tool: str) -> bool:
        """True without waiting, from a fresh cache; false means: ask `allows`."""
        listed = self._tools.get(agent)
        return listed is not None and tool in listed and self._monotonic() - self._read_at < self._fresh_seconds

    async def allows(self, agent: str, tool: str) -> bool:
        """Whether the agent may call the tool. A no rests on definitions read after this was called, because a refusal is final.

        Raises `TransientError` when the database does not answer, unless an older reading says yes.
        """
        if self.surely_allows(agent, tool):
            return True
        asked_at = self._monotonic()
        try:
            async with self._lock:
                # who waited here while another read may take its yes; only a no must rest on a reading of one's own
                if self._read_at < asked_at and not self.surely_allows(agent, tool):
                    await self._read()
        except TransientError as error:
            if tool not in self._tools.get(agent, frozenset()):
                raise
            _log.warning("definitions cannot be read, using the last ones", error=str(error))
        return tool in self._tools.get(agent, frozenset())

    async def _read(self) -> None:
        wait = self._read_at + self._min_reload_seconds - self._monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        started_at = self._monotonic()
        tools: dict[str, frozenset[str]] = {}
        for definition in await self._definitions.agents():
            tools[definition.name] = tools.get(definition.name, frozenset()) | frozenset(definition.tools)
        self._tools = tools
        self._read_at = started_at
