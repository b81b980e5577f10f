"""What is open in a deployment as a whole, for those who watch it: the facet `overview` of a store.

Every answer is for some partitions, those that one coordinator replica owns: the numbers of all replicas add up to the whole, and each run
is counted by its owner. Cost grows with what is open, never with what has ended. Owns the contract; the adapters are beside the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from waypost_io.store.ports import RunRow

NEAR_SHARE = 0.1
"""A run is near its deadline when less than this share of the time between its start and its deadline is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRuns:
    """Runs of one agent that have not ended and have one status. `unhosted` of them wait for somebody to host an agent or a tool, `near`
    are near their deadline or past it. `next_deadline_at` is in Unix seconds, None if no deadline is set."""

    agent: str
    status: str
    count: int
    unhosted: int = 0
    near: int = 0
    next_deadline_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenApprovals:
    """Approvals and questions that wait for people of one role about one agent's runs; times in Unix seconds."""

    agent: str
    role: str
    count: int
    oldest_at: float
    next_expiry_at: float


class Overview(Protocol):
    """Reads for gauges. All raise `Unreachable`."""

    async def open_runs(self, partitions: Sequence[int]) -> list[OpenRuns]:
        """By agent and status."""
        ...

    async def open_approvals(self, partitions: Sequence[int]) -> list[OpenApprovals]:
        """By agent and role."""
        ...

    async def doubtful(self, partitions: Sequence[int], *, limit: int = 1_000) -> list[RunRow]:
        """Open runs that may have a call in doubt, by run id: those with a call in the ledger that was started and is not settled.

        A call that is simply running is one of them too; the run's state tells them apart. It looks one thing up for each open run.
        """
        ...
