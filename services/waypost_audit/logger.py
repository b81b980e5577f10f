"""The audit logger as an actor: look, read, append, wait. Owns its pace and its standing aside; the log and its cursor are the store's.

The cursor of each partition moves in the transaction that appends its events, so a crash at any instant loses and repeats nothing: what was
appended is behind the cursor, what was not is in front of it. Two loggers may run: an append under cursors that another one has moved is
refused as a whole, and the loser stands aside for a while.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog

from waypost_audit.bell import Bell
from waypost_audit.metrics import Metrics
from waypost_audit.reading import Gap, dense, leaf_digest, shares
from waypost_io import faults
from waypost_io.lifecycle import Stop
from waypost_io.store.ports import EventRow, Store
from waypost_proto.errors import ConcurrencyError, TransientError

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 5.0
GATHER_SECONDS = 0.02
"""Between two appends under load: a batch gathers in it, and the database is left to those who are waited for."""
STAND_ASIDE_POLLS = 3
"""Poll intervals that a logger keeps quiet after another one overtook it."""
GAP_LOG_SECONDS = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """`batch_max` events in one append; without a ring the log is looked at every `poll_seconds`."""

    batch_max: int = 1_000
    poll_seconds: float = 2.0


class AuditLogger:
    """Takes over the events of all partitions. `run` it once; the store and the bell's bus are open and stay the caller's."""

    def __init__(self, store: Store, bell: Bell, config: AuditConfig, *, metrics: Metrics | None = None) -> None:
        self._store = store
        self._bell = bell
        self._config = config
        self._metrics = metrics or Metrics()
        self._cursors: dict[int, int] | None = None
        self._lag: dict[int, int] | None = None
        self._gaps: dict[int, Gap] = {}
        self._gap_said_at = float("-inf")
        self._trouble = "has not looked at the log yet"

    async def run(self, stop: Stop) -> None:
        """Work until `stop`; an append under way is finished. Waits out a silent database. Cancelling is as safe as a crash."""
        delay = FIRST_DELAY_SECONDS
        while not stop.requested:
            try:
                taken = await self.take()
                delay = FIRST_DELAY_SECONDS
            except ConcurrencyError:
                self._metrics.overtaken.inc()
                _log.info("another audit logger is at work, standing aside")
                self._cursors = None
                await stop.sleep(STAND_ASIDE_POLLS * self._config.poll_seconds)
                continue
            except TransientError as error:
                self._trouble = str(error)
                _log.warning("the log cannot be read, trying again", error=str(error), delay_seconds=delay)
                await stop.sleep(delay)
                delay = min(delay * 2, MAX_DELAY_SECONDS)
                continue
            if taken:
                await stop.sleep(GATHER_SECONDS)
            else:
                await self._idle(stop)

    async def take(self) -> int:
        """One look: take over what is new, at most a batch; how many events that were.

        Raises `ConcurrencyError` when another logger was faster (nothing was appended by this one), `TransientError`.
        """
        if self._cursors is None:
            self._cursors = await self._store.audit.cursors()
        cursors = self._cursors
        await self._look()
        events = await self._read(cursors)
        if not events:
            return 0
        digests = [leaf_digest(event.body) for event in events]
        faults.point("audit.append.before")
        try:
            added = await self._store.audit.append(events, digests)
        except TransientError:
            self._cursors = None  # it may have been appended
            raise
        faults.point("audit.append.after")
        for event in events:
            cursors[event.partition] = event.position
        self._metrics.appended.inc(added)
        return len(events)

    async def readiness(self) -> str:
        """How far it is behind, for `/readyz`. Raises `TransientError` with what is in the way."""
        if self._trouble:
            raise TransientError(self._trouble)
        behind = sum((self._lag or {}).values())
        if self._gaps:
            gap = next(iter(self._gaps.values()))
            raise TransientError(
                f"partition {gap.partition} has a gap: after position {gap.position} comes {gap.found}; {behind} events behind"
            )
        return f"{behind} events behind"

    async def _look(self) -> bool:
        """Measure the lag; whether there is any that can be worked on."""
        self._lag = await self._store.audit.lag()
        self._metrics.lag(self._lag, time.time())
        self._trouble = ""
        return any(count for partition, count in self._lag.items() if partition not in self._gaps)

    async def _read(self, cursors: dict[int, int]) -> list[EventRow]:
        """The next events of every partition that is behind, without gaps."""
        events: list[EventRow] = []
        gaps: dict[int, Gap] = {}
        for partition, limit in shares(self._lag or {}, self._config.batch_max).items():
            position = cursors.get(partition, 0)
            found, gap = dense(partition, position, await self._store.log.events_after(partition, position, limit=limit))
            events += found
            if gap is not None:
                gaps[partition] = gap
        self._say_gaps(gaps)
        return events

    def _say_gaps(self, gaps: dict[int, Gap]) -> None:
        """A gap stops its partition, for good, and is said loudly: skipping it would make the audit log agree with the loss."""
        self._gaps = gaps
        self._metrics.gaps.set(len(gaps))
        now = time.monotonic()
        if gaps and now - self._gap_said_at > GAP_LOG_SECONDS:
            self._gap_said_at = now
            for gap in gaps.values():
                _log.error("events are missing from the log", partition=gap.partition, after=gap.position, found=gap.found)

    async def _idle(self, stop: Stop) -> None:
        """Wait for the bell, the poll or the stop, whatever comes first."""
        ring = asyncio.ensure_future(self._bell.wait(self._config.poll_seconds, self._look))
        end = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({ring, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
            ring.cancel()
            found = await asyncio.gather(ring, end, return_exceptions=True)
        if isinstance(found[0], Exception) and not isinstance(found[0], TransientError):
            raise found[0]
