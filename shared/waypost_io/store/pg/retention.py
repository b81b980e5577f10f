"""Drops partitions of old events, each in one transaction with its signed statement. Needs the rights of the schema's owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from waypost_io.store import queries
from waypost_io.store.pg.link import Link
from waypost_proto.errors import ContractError

_SQL = queries.load("audit_drops")
LOCK_SECONDS = 10
"""For so long a drop waits for its locks; commits wait behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Droppable:
    """What of a partition of events can be dropped: `leaves` is the list that the statement names, `kept_runs` stay."""

    what: str
    events: int
    runs: int
    upto: int
    leaves: str
    kept_runs: int


Sign = Callable[[Droppable], str]
"""The signed statement of what is about to be dropped."""


class PostgresRetention:
    """Raises `TransientError` as every facet does, also when the locks are not had in time; then nothing was changed."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def partitions(self, before: float) -> list[str]:
        """Partitions of events, oldest first, of months that were over at `before`, in Unix seconds."""
        return [row["name"] for row in await self._link.fetch(_SQL["partitions"]) if row["ends"] <= before]

    async def drop(self, name: str, before: float, sign: Sign | None) -> Droppable:
        """Drop the events of one partition but for those of runs that must stay; without `sign` only say what would go.

        Raises `ContractError`, and changes nothing, when an event is not in the audit log or does not fit its leaf.
        """
        async with self._link.connection() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            if sign is not None:
                await connection.execute(f'LOCK TABLE "{_checked(name)}" IN SHARE ROW EXCLUSIVE MODE')  # nothing comes while we look
            kept: Sequence[object] = [row["run_id"] for row in await connection.fetch(_SQL["kept"], name, before)]
            row = await connection.fetchrow(_SQL["droppable"], name, kept)
            assert row is not None
            if row["untaken"] or row["changed"]:
                raise ContractError(
                    f"{name}: {row['untaken']} events are not in the audit log, {row['changed']} do not fit their leaves; it stays. "
                    "Wait until `waypost audit head` shows no lag; look with `waypost audit verify`"
                )
            found = Droppable(
                what=name, events=row["events"], runs=row["runs"], upto=row["upto"], leaves=row["leaves"], kept_runs=len(kept)
            )
            if sign is not None:
                await connection.execute(_SQL["add"], name, found.leaves, sign(found))
                await connection.execute(_SQL["drop"], name, kept)
            return found


def _checked(name: str) -> str:
    assert name.replace("_", "").isalnum(), name
    return name
