"""Decide, commit, publish, ack: three stages, each working on its own batch. Under no load a batch is one message and waits for nothing;
under load it waits a moment for company, because each batch costs every process and both servers a round of waking up.

    letters ─▶ decide ─▶ commit ─▶ publish and settle ─▶ ack
               batch k+1  batch k    batches before k

The unacknowledged message is the outbox: a letter is done only after its events are committed and its dispatches are in JetStream.

When a commit fails for sure (a number or cause is taken, a value that the database cannot hold), everything decided on top of it is given
up, the states are dropped, and its letters are decided again in smaller batches until the one that cannot be committed is alone. When
it is unknown whether a commit happened (Postgres is gone), this replica steps down from all its partitions and takes them over anew:
take-over publishes what lies above the published position, and redelivery brings the letters again (CORRECTNESS.md rows 1, 9, 12).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import structlog

from waypost_coordinator.batch import Batch
from waypost_coordinator.deciding import Decider, Undecidable
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter, not_confirmed, repeated
from waypost_coordinator.waking import Waker
from waypost_io import faults
from waypost_io.store.ports import CommitResult
from waypost_proto.errors import BadMessage, SequenceTaken, TransientError
from waypost_proto.ids import RunId

log = structlog.get_logger(__name__)

IDLE_LOOK_SECONDS = 0.01
BUSY_LETTERS = 8
"""A batch of so many says that there is load."""
COMPANY_SECONDS = 0.001
"""How long a batch that is smaller than a busy one before it waits for more letters: a tenth of what a commit and its dispatches take
then."""
COMMIT_SECONDS = 0.5
"""How long a partition's leaving waits for a commit under way. Not longer: with it renewals wait, and a late commit is fenced anyway."""


class Ownership(Protocol):
    """What the pipeline needs of the leases."""

    @property
    def owner(self) -> str: ...

    def lost(self, partitions: Iterable[int]) -> None:
        """The database says that these are no longer ours."""
        ...

    def step_down(self, why: str) -> None:
        """Give everything up and take it over anew."""
        ...

    def hold(self, partitions: Iterable[int]) -> bool:
        """Whether all of these are ours at this moment; what has run out is given up."""
        ...


@dataclass(frozen=True, slots=True)
class Stages:
    """What happens to a decided batch (`before`), to a committed one (`after`, at once, must not wait), and to a letter that cannot be
    handled."""

    before: Callable[[Batch], None]
    after: Callable[[Batch, CommitResult], Awaitable[None]]
    bury: Callable[[Letter, str], Awaitable[None]]


class Pipeline:
    """Run `run()` in a task. Letters come in through the letter box."""

    def __init__(self, ground: Ground, decider: Decider, waker: Waker, ownership: Ownership, stages: Stages, batch_max: int = 500) -> None:
        self._ground = ground
        self._decider = decider
        self._waker = waker
        self._ownership = ownership
        self._stages = stages
        self._batch_max = batch_max
        self._deciding = asyncio.Lock()
        self._committing = asyncio.Lock()
        self._free = asyncio.Event()
        self._free.set()
        self._handed = asyncio.Event()
        self._next: Batch | None = None
        self._committed_positions: dict[int, int] = {}
        self._in_commit: set[RunId] = set()
        self._taken = 0
        """Letters of the last batch."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._decide_forever())
            group.create_task(self._commit_forever())
            group.create_task(self._decider.reader.run())

    def gained(self, partition: int, position: int) -> None:
        """A partition is ours now; its last event is at `position`."""
        self._decider.positions[partition] = position
        self._committed_positions[partition] = position
        self._ground.runs.drop_partitions([partition])

    async def forget(self, partitions: Iterable[int]) -> None:
        """Partitions are no longer ours: drop their letters (unacked) and their runs.

        Not while a batch is being decided: a run that vanished between loading and deciding would be taken for one that never was.
        """
        async with self._deciding:
            for letter in [*self._ground.box.remove(partitions), *self._decider.reader.remove(partitions)]:
                letter.drop(not_confirmed(letter, "its partition is moving to another replica"))
            self._ground.runs.drop_partitions(partitions)
        with contextlib.suppress(TimeoutError):  # what is being committed for them is best finished before somebody else owns them
            async with asyncio.timeout(COMMIT_SECONDS), self._committing:
                pass

    async def idle(self) -> None:
        """Wait until no letter is waiting, being decided or being committed. For a drain: nothing new must be coming in."""
        while self._ground.box or self._decider.reader or self._deciding.locked() or self._committing.locked() or self._next is not None:  # noqa: ASYNC110  # once, at the end
            await asyncio.sleep(IDLE_LOOK_SECONDS)

    async def _decide_forever(self) -> None:
        while True:
            await self._free.wait()
            await self._ground.box.filled()
            if self._taken >= BUSY_LETTERS and len(self._ground.box) < self._taken:
                await asyncio.sleep(COMPANY_SECONDS)
            async with self._deciding:  # taken inside: what a refused commit puts back comes before what arrived later
                letters = self._ground.box.take(self._batch_max)
                self._taken = len(letters)
                undecidable = await self._decide(letters) if letters else None
            if undecidable is not None:  # outside the lock: it waits for the commit, and a refused commit waits for the lock
                await self._without(undecidable, letters)

    async def _decide(self, letters: list[Letter]) -> Undecidable | None:
        """Decide and hand over; or the letter that stands in the way."""
        try:
            batch = await self._decider.decide(letters)
        except TransientError as error:
            log.warning("states_not_loaded", error=str(error), letters=len(letters))
            self._give_up(letters)
            self._ownership.step_down("states could not be loaded")
        except Undecidable as error:
            return error
        else:
            self._free.clear()
            self._next = batch
            self._handed.set()
            self._stages.before(batch)
            self._ground.runs.trim(keep=batch.touched | self._in_commit)
        return None

    async def _commit_forever(self) -> None:
        while True:
            await self._handed.wait()
            self._handed.clear()
            batch, self._next = self._next, None
            self._free.set()
            if batch is None:
                continue
            self._in_commit = batch.touched
            async with self._committing:
                await self._commit(batch)
            self._in_commit = set()

    async def _without(self, error: Undecidable, letters: list[Letter]) -> None:
        """Set the letter that cannot be decided aside and decide the others again, on states as they are committed."""
        async with self._committing:  # what is being committed must be visible before states are loaded again
            self._forget_states()
        await self._stages.bury(error.letter, str(error))
        self._ground.box.put_back(letter for letter in letters if letter is not error.letter)

    async def _commit(self, batch: Batch) -> None:
        partitions = {letter.partition for letter in batch.letters}
        owned = self._ground.epochs
        # also without rows: a zombie must not answer from its memory; a partition that is being gained again is held and not ours yet
        if not self._ownership.hold(partitions) or not partitions <= owned.keys():
            await self._refuse(batch, TransientError("a partition was lost while its batch was decided"))
            return
        result = CommitResult()
        if not batch.rows.empty():
            leases = [
                (p, owned[p], batch.positions.get(p, self._committed_positions.get(p, 0)), self._ground.published.get(p, 0))
                for p in sorted(partitions)
            ]
            faults.point("coordinator.commit.before")
            started = time.perf_counter()
            try:
                result = await self._ground.store.log.commit(batch.rows.commit(self._ownership.owner, leases))
            except (SequenceTaken, BadMessage) as error:
                await self._refuse(batch, error)
                return
            except TransientError as error:
                await self._ambiguous(batch, error)
                return
            self._ground.metrics.committed(len(batch.rows.events), len(batch.letters), time.perf_counter() - started)
            faults.point("coordinator.commit.after")
        if result.lost:
            log.warning("leases_lost", partitions=sorted(result.lost))
            self._ownership.lost(result.lost)
            await self._ambiguous(batch, TransientError("a lease was lost"))
            return
        for partition, position in batch.positions.items():  # an answer may come so late that the partition was lost and gained again
            self._committed_positions[partition] = max(position, self._committed_positions.get(partition, 0))
        try:
            await self._stages.after(batch, result)
        except TransientError as error:  # something that is to be published could not be read: the take-over publishes it
            await self._ambiguous(batch, error)

    async def _refuse(self, batch: Batch, error: Exception) -> None:
        """The batch was not written. Decide its letters again, in halves, on states as they are committed."""
        self._ground.metrics.failed("refused")
        async with self._deciding:
            stale, self._next = self._next, None
            self._handed.clear()
            self._free.set()
            self._forget_states()
            later = [] if stale is None else stale.letters
            letters = batch.letters
            for letter in (*letters, *later):
                letter.new = False  # it may be why
            if isinstance(error, TransientError):
                pass  # nothing is wrong with the letters
            elif len(letters) == 1:
                letters = await self._alone(letters[0], error)
            else:
                log.warning("batch_refused", letters=len(letters), error=str(error))
                half = max(1, len(letters) // 2)
                for letter in letters:
                    letter.limit = min(letter.limit, half)
            self._ground.box.put_back([*letters, *later])

    async def _alone(self, letter: Letter, error: Exception) -> list[Letter]:
        """A batch of one was refused. A cause that is in the log already means that the letter is a repeat."""
        request_id = getattr(letter.mail, "request_id", "")
        if isinstance(error, SequenceTaken):
            if request_id and await self._ground.store.log.cause_seen(letter.run_id, request_id) is not None:
                if letter.answer is not None:
                    letter.answer(repeated(letter))
                if letter.done is not None:
                    letter.done()
                return []
            if letter.failures == 0:  # another replica was quicker, once: our state was stale
                letter.failures += 1
                return [letter]
        await self._stages.bury(letter, str(error))
        return []

    async def _ambiguous(self, batch: Batch, error: Exception) -> None:
        """It may have been committed or not: nothing that we hold in memory is to be trusted."""
        self._ground.metrics.failed("unknown")
        log.warning("commit_unknown", letters=len(batch.letters), error=str(error))
        async with self._deciding:
            stale, self._next = self._next, None
            self._handed.clear()
            self._free.set()
            self._give_up([*batch.letters, *([] if stale is None else stale.letters)])
            self._forget_states()
            self._ownership.step_down("a commit is unknown")

    def _give_up(self, letters: Iterable[Letter]) -> None:
        """Leave the messages unacked; they come again to the next epoch's consumer. Callers are told that we do not know."""
        for letter in letters:
            letter.drop(not_confirmed(letter, "the database did not answer"))

    def _forget_states(self) -> None:
        self._ground.runs.clear()
        self._waker.forget()
        self._decider.positions.update(self._committed_positions)
