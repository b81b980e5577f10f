"""Facet `overview`: what is open, for gauges."""

from __future__ import annotations

from collections.abc import Sequence

from waypost_io.store import queries
from waypost_io.store.overview import NEAR_SHARE, OpenApprovals, OpenRuns
from waypost_io.store.pg import rows
from waypost_io.store.pg.link import Link
from waypost_io.store.ports import RunRow

_RUNS = queries.load("runs")
_APPROVALS = queries.load("approvals")


class PostgresOverview:
    """See `overview.Overview`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def open_runs(self, partitions: Sequence[int]) -> list[OpenRuns]:
        """See `Overview.open_runs`."""
        found = await self._link.fetch(_RUNS["overview"], list(partitions), NEAR_SHARE)
        return [OpenRuns(**dict(row)) for row in found]

    async def open_approvals(self, partitions: Sequence[int]) -> list[OpenApprovals]:
        """See `Overview.open_approvals`."""
        return [OpenApprovals(**dict(row)) for row in await self._link.fetch(_APPROVALS["overview"], list(partitions))]

    async def doubtful(self, partitions: Sequence[int], *, limit: int = 1_000) -> list[RunRow]:
        """See `Overview.doubtful`."""
        return [rows.run(row) for row in await self._link.fetch(_RUNS["doubtful"], list(partitions), limit)]
