"""The audit logger as an actor: look, append, sign, wait. Owns its pace and its standing aside; the log and its cursors are the store's.

The cursor of each partition moves in the transaction that appends its events, so a crash at any instant loses and repeats nothing: what was
appended is behind the cursor, what was not is in front of it. One of several loggers is active, by a lease; an append names the lease's
epoch and the size that it builds on, so that whoever was overtaken writes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from waypost_audit.bell import Bell
from waypost_audit.metrics import Metrics
from waypost_audit.reading import LogBroken, begin
from waypost_audit.signing import Signer
from waypost_core.audit.growing import GrowingTree
from waypost_io import faults
from waypost_io.lifecycle import Stop
from waypost_io.store.ports import AuditState, HeadRow, PendingSpan, Store
from waypost_proto.errors import ConcurrencyError, TransientError

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 5.0
GATHER_SECONDS = 0.4
"""Between two appends under load: a batch gathers in it, and the database is left to those who are waited for."""
SAY_SECONDS = 60.0
BROKEN_SECONDS = 30.0
"""Between two looks at a log that contradicts its head: a person must mend it."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """`owner` is this process's own name. `batch_max` events of each partition in one append; without a ring the log is looked at every
    `poll_seconds`; a head is signed every `head_seconds` while the log grows; another logger takes over `lease_seconds` after a crash."""

    owner: str = "audit"
    origin: str = "waypost/audit"
    """Name of a log that is begun by this process."""
    batch_max: int = 1_000
    poll_seconds: float = 2.0
    head_seconds: float = 10.0
    lease_seconds: float = 5.0


class AuditLogger:
    """Takes over the events of all partitions. `run` it once; the store and the bell's bus are open and stay the caller's."""

    def __init__(
        self, store: Store, bell: Bell, config: AuditConfig, *, signer: Signer | None = None, metrics: Metrics | None = None
    ) -> None:
        self._audit = store.audit
        self._bell = bell
        self._config = config
        self._signer = signer
        self._metrics = metrics or Metrics()
        self._state: AuditState | None = None
        self._tree = GrowingTree()
        self._renew_at = self._sign_at = float("-inf")
        self._limit = config.batch_max
        self._behind: dict[int, int] = {}
        self._gaps: dict[int, tuple[int, int]] = {}
        self._said_at = float("-inf")
        self._trouble = "has not looked at the log yet"

    @property
    def active(self) -> bool:
        """Whether this process is the one that appends."""
        return self._state is not None

    async def run(self, stop: Stop) -> bool:
        """Work until `stop`; then an append under way is finished, and a last head signed. Whether this process was the active one then.

        Waits out a silent database. Cancelling is as safe as a crash.
        """
        delay = FIRST_DELAY_SECONDS
        while not stop.requested:
            try:
                pause = await self._round(stop)
                delay = FIRST_DELAY_SECONDS
            except ConcurrencyError:
                self._metrics.overtaken.inc()
                _log.info("another audit logger is at work, standing aside")
                self._lose()
                pause = self._config.lease_seconds
            except LogBroken as error:
                self._break(error)
                pause = BROKEN_SECONDS
            except TransientError as error:
                self._trouble = str(error)
                self._lose()  # it may have been appended
                self._limit = max(1, self._limit // 2)
                _log.warning("the log cannot be read, trying again", error=str(error), delay_seconds=delay)
                pause, delay = delay, min(delay * 2, MAX_DELAY_SECONDS)
            if pause:
                await stop.sleep(pause)
        was_active = self.active
        await self._end()
        return was_active

    async def take(self) -> int:
        """One look: take over what is new, at most a batch; how many events that were. 0 while another logger is active.

        Raises `ConcurrencyError` when another logger was faster (nothing was appended by this one), `LogBroken`, `TransientError`.
        """
        if not await self._hold():
            return 0
        assert self._state is not None
        found = await self._audit.pending(self._limit)
        self._look({span.partition: span.behind for span in found})
        self._say_gaps(found)
        spans = [span for span in found if span.leaves]
        if not spans:
            return 0
        grown = self._tree.copy()
        nodes = grown.extend(b"".join(span.leaves for span in spans))
        faults.point("audit.append.before")
        await self._audit.append(self._state, spans, nodes)
        faults.point("audit.append.after")
        self._tree, self._state = grown, replace(self._state, size=grown.size)
        self._limit = min(2 * self._limit, self._config.batch_max)
        self._taken(spans)
        return sum(span.count for span in spans)

    async def sign(self) -> bool:
        """Sign a head over all that is taken over, if there is a signer and something new. Raises `TransientError`, `ConcurrencyError`."""
        if self._signer is None or self._state is None:
            return False
        return await self._signer.sign(self._state.origin, self._tree) is not None

    async def readiness(self) -> str:
        """How far it is behind, for `/readyz`. Raises `TransientError` with what is in the way."""
        if self._trouble:
            raise TransientError(self._trouble)
        behind = sum(self._behind.values())
        for partition, (expected, found) in self._gaps.items():
            raise TransientError(f"partition {partition} has a gap: after position {expected - 1} comes {found}; {behind} events behind")
        if self._signer is not None and self._signer.trouble:
            raise TransientError(self._signer.trouble)
        return f"{behind} events behind" if self.active else "another audit logger is active"

    async def _round(self, stop: Stop) -> float:
        """Look, append, sign; how long to pause before the next round, in seconds."""
        taken = await self.take()
        if not self.active:
            return self._config.poll_seconds
        now = asyncio.get_running_loop().time()
        if now >= self._sign_at:
            self._sign_at = now + self._config.head_seconds
            await self.sign()
        if not taken:
            await self._bell.idle(stop, self._config.poll_seconds, self._new)
            return 0.0
        return 0.0 if sum(self._behind.values()) > taken else GATHER_SECONDS

    async def _hold(self) -> bool:
        """Have the lease, and know the tree as it is under it."""
        now = asyncio.get_running_loop().time()
        if self._state is not None and now < self._renew_at:
            return True
        config = self._config
        state = await self._audit.acquire(config.owner, origin=config.origin, lease_seconds=config.lease_seconds)
        self._renew_at = now + config.lease_seconds / 3
        if state is None:
            self._lose()
            self._trouble = ""
            return False
        if state != self._state:
            self._tree, newest = await self._begin(state)
            if self._signer is not None:
                self._signer.begin(newest)
            self._metrics.broken.set(0)
            self._metrics.leaves.set(state.size)
            _log.info("audit logger is active", epoch=state.epoch, leaves=state.size, origin=state.origin)
        self._state = state
        self._metrics.active.set(1)
        self._trouble = ""
        return True

    async def _begin(self, state: AuditState) -> tuple[GrowingTree, HeadRow | None]:
        """The tree and the newest head, both as of `state`.

        While this process was stopped another one may have taken the log over and signed more than `state` counts: that contradicts
        nothing, and whether the log is broken is for that one to say.
        """
        try:
            return await begin(self._audit, state.size)
        except LogBroken as error:
            now = await self._audit.state()
            if (now.owner, now.epoch, now.size) != (state.owner, state.epoch, state.size):
                raise ConcurrencyError(f"the audit log was taken over by {now.owner or 'nobody'} while it was read") from error
            raise

    def _lose(self) -> None:
        self._state = None
        self._metrics.active.set(0)

    def _break(self, error: LogBroken) -> None:
        """Nothing more is appended or signed: a log that goes on after it was changed would bury the place."""
        self._lose()
        self._metrics.broken.set(1)
        self._trouble = f"the audit log is broken: {error}"
        _log.error("the audit log is broken", error=str(error))

    def _look(self, behind: dict[int, int]) -> None:
        self._behind = behind
        self._metrics.lag(behind, time.time())

    def _taken(self, spans: Sequence[PendingSpan]) -> None:
        taken = sum(span.count for span in spans)
        left = {span.partition: span.behind - span.count for span in spans if span.behind > span.count}
        self._metrics.appended.inc(taken)
        self._metrics.leaves.set(self._tree.size)
        self._metrics.took.observe(max(0.0, time.time() - min(span.recorded_from for span in spans)))
        self._metrics.lag(left, time.time())

    def _say_gaps(self, spans: Sequence[PendingSpan]) -> None:
        """A gap stops its partition, for good, and is said loudly: skipping it would make the audit log agree with the loss."""
        self._gaps = {span.partition: (span.position + span.count, span.gap) for span in spans if span.gap is not None}
        self._metrics.gaps.set(len(self._gaps))
        if self._gaps and time.monotonic() - self._said_at > SAY_SECONDS:
            self._said_at = time.monotonic()
            for partition, (expected, found) in self._gaps.items():
                _log.error("events are missing from the log", partition=partition, expected=expected, found=found)

    async def _new(self) -> bool:
        """Whether there is anything that can be worked on."""
        lag = await self._audit.lag()
        return any(count for partition, count in lag.items() if partition not in self._gaps)

    async def _end(self) -> None:
        """A last look and a last head, and the lease is free for the next."""
        if self._state is None:
            return
        try:
            await self.take()
            await self.sign()
            if self._state is not None:
                await self._audit.release(self._config.owner, self._state.epoch)
        except (TransientError, ConcurrencyError, LogBroken) as error:
            _log.warning("the audit log could not be closed in order", error=str(error))
        self._lose()
