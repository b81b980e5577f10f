"""The facet `overview` in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from waypost_io.store.memory.database import MemoryDatabase
from waypost_io.store.overview import NEAR_SHARE, OpenApprovals, OpenRuns
from waypost_io.store.ports import ApprovalRow, RunRow


class MemoryOverview:
    """See `overview.Overview`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def open_runs(self, partitions: Sequence[int]) -> list[OpenRuns]:
        """See `Overview.open_runs`."""
        groups: dict[tuple[str, str], list[RunRow]] = defaultdict(list)
        for run in self._open(partitions):
            groups[run.agent, run.status].append(run)
        return [self._counted(agent, status, runs) for (agent, status), runs in sorted(groups.items())]

    async def open_approvals(self, partitions: Sequence[int]) -> list[OpenApprovals]:
        """See `Overview.open_approvals`."""
        self._db.reach()
        groups: dict[tuple[str, str], list[ApprovalRow]] = defaultdict(list)
        for approval in self._db.approvals.values():
            run = self._db.runs.get(approval.run_id)
            if approval.state == "open" and run is not None and run.partition in partitions:
                groups[approval.agent, approval.role].append(approval)
        return [
            OpenApprovals(
                agent=agent,
                role=role,
                count=len(found),
                oldest_at=min(each.requested_at for each in found),
                next_expiry_at=min(each.expires_at for each in found),
            )
            for (agent, role), found in sorted(groups.items())
        ]

    async def doubtful(self, partitions: Sequence[int], *, limit: int = 1_000) -> list[RunRow]:
        """See `Overview.doubtful`."""
        unsettled = {run_id for (run_id, _), record in self._db.ledger.items() if record.state in ("started", "doubt")}
        found = [run for run in self._open(partitions) if run.run_id in unsettled]
        return sorted(found, key=lambda run: run.run_id)[:limit]

    def _open(self, partitions: Sequence[int]) -> list[RunRow]:
        self._db.reach()
        return [run for run in self._db.runs.values() if run.open and run.partition in partitions]

    def _counted(self, agent: str, status: str, runs: list[RunRow]) -> OpenRuns:
        now = self._db.clock()
        ends = [(run.deadline_at, run.created_at) for run in runs if run.deadline_at is not None]
        return OpenRuns(
            agent=agent,
            status=status,
            count=len(runs),
            unhosted=sum(run.held for run in runs),
            near=sum(end < now + NEAR_SHARE * (end - start) for end, start in ends),
            next_deadline_at=min((end for end, _ in ends), default=None),
        )
