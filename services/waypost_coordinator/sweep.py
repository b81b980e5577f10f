"""The sweep: notices what nobody reports (a wiped or restored broker, lost workers, new hosts) and has the work derived again.

Streams are known by their creation time and last sequence, kept in Postgres. One that was made anew, or that went backwards, makes
everything outstanding be derived again from the log under new ids and tokens (P2, CORRECTNESS.md row 16).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Collection, Iterable, Sequence

import structlog

from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter, Rederive, Tally
from waypost_coordinator.takeover import TakeOver
from waypost_core.messages import HostFound
from waypost_io.bus.ports import StreamSpec
from waypost_io.bus.topology import sticky_consumer
from waypost_io.store.ports import RunRow
from waypost_proto.errors import WaypostError
from waypost_proto.ids import RunId, WorkerId, digest_of

log = structlog.get_logger(__name__)

PAGE = 500
GENERATION = "generation"
"""Kept beside the streams' marks; renewed when a stream went backwards. Its replicas' own marks may not show it: what they and others
publish in the meantime takes the stream past them again."""
LATE_LOOKS = 3
"""So many rounds after a host was found, what is held is looked at again: a run that was being committed then is not in the table yet."""


class Sweep:
    """Run `run()` in a task. The callbacks may be called from anywhere in the loop; they only leave a note."""

    def __init__(self, ground: Ground, takeover: TakeOver, specs: Sequence[StreamSpec], seconds: float) -> None:
        self._ground = ground
        self._takeover = takeover
        self._specs = specs
        self._seconds = seconds
        self._note = asyncio.Event()
        self._lost: set[str] = set()
        self._ended: set[tuple[str, str]] = set()
        self._found: set[str] = set()
        self._looks = 0
        """Rounds in which to look at what is held once more."""
        self._known: dict[str, tuple[str, int]] = {}
        self._deriving: set[int] = set()
        """Partitions whose work is being derived again, and is not in JetStream yet."""
        self._settled: dict[str, tuple[str, int]] = {}
        """Marks to save: all that they stand for is in JetStream."""
        self._lying: set[str] = set()
        """Mail between runs that was unreceived at the last round."""
        self._confirmed: dict[str, int] = {}
        """What each stream had confirmed and delivered to us when its mark was asked for."""
        self._seen: dict[str, tuple[str, int]] = {}
        """Each stream's mark when we last asked for it."""
        self._identities: dict[str, str] = {}
        """When each stream was made, as we last saw it."""
        self._comparing = asyncio.Lock()
        """From asking for the marks to comparing them nothing newer may become known, or the streams seem to have gone backwards."""
        self._compared: set[int] = set()
        """Partitions whose stored marks were compared when they came to us; before that a round must not overwrite them."""

    def look(self) -> None:
        """Something is odd (a stream is missing, the connection came back): look now."""
        self._note.set()

    def reconnected(self) -> None:
        """The connection came back, perhaps to a server that has lost what the former one confirmed: look now."""
        self._ground.lately.reconnected()
        self._note.set()

    def workers_lost(self, workers: Sequence[str]) -> None:
        """These workers are gone: what they held must go elsewhere."""
        self._lost.update(workers)
        self._note.set()

    def builds_ended(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Nobody hosts these (agent, build) any more: their runs move to another build, also those that no worker has taken up."""
        self._ended.update(pairs)
        self._note.set()

    def hosts_found(self, names: Sequence[str]) -> None:
        """Someone hosts these agents or tools now, or hosts them differently."""
        self._found.update(names)
        self._note.set()

    async def start(self) -> None:
        """Make the streams. Raises `Unreachable`, `Misconfigured`."""
        for spec in self._specs:
            mark = await self._ground.bus.ensure_stream(spec)
            self._seen[spec.name] = (mark.created, mark.last_seq)

    async def expect(self, partition: int) -> None:
        """Nothing is dispatched for a partition before marks of it are stored. Raises `Unreachable`.

        When it is ours for the first time ever nothing tells which streams its first dispatches went to, and comparing it may have to
        wait for JetStream: if that is wiped meanwhile, the new streams would be taken for those. Marks as we last saw them do, without
        JetStream; older ones only make us derive again what little there is.
        """
        marks = {f"{name}@{partition}": mark for name, mark in self._seen.items()}
        if marks.keys() <= self._known.keys():
            return
        stored = await self._ground.store.streams.load()
        marks[f"{GENERATION}@{partition}"] = stored.get(GENERATION, ("", 0))
        await self._save({key: mark for key, mark in marks.items() if key not in stored})

    async def gained(self, partition: int) -> None:
        """A partition is ours now: what happened to the streams while nobody owned it, and who came to host what is held?"""
        async with self._comparing:
            self._known.update(await self._ground.store.streams.load())
            await self._compare(await self._marks(), [partition])
            self._compared.add(partition)
        await self.release_held([partition])

    async def run(self) -> None:
        """Until cancelled. What fails is tried again at the next round."""
        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._note.wait()
            except TimeoutError:
                pass
            self._note.clear()
            try:
                await self._round()
            except WaypostError as error:
                log.warning("sweep_interrupted", error=str(error))
                await asyncio.sleep(min(0.5, self._seconds))
                self._note.set()

    async def everything(self) -> int:
        """Derive all outstanding work of our partitions again; the number of runs looked at."""
        return await self._derive(list(self._ground.epochs))

    async def _derive(self, partitions: Iterable[int], tally: Tally | None = None) -> int:
        count = 0
        for partition in partitions:
            for letter in await self._takeover.unreceived(partition):
                self._put(letter, tally)
            async for row in self._open_runs(partition):
                self._each([row.run_id], Rederive(), tally)
                count += 1
        log.info("redispatched", runs=count)
        return count

    async def _round(self) -> None:
        async with self._comparing:
            marks = await self._marks()
            await self._compare(marks, self._compared & self._ground.epochs.keys())
        self._doubted()
        await self._unreceived_mail()
        lost, ended, found = set(self._lost), set(self._ended), set(self._found)  # forgotten when it is done: a failure must not lose them
        if lost:
            await self._elsewhere(sorted(lost))
            self._lost -= lost
        if ended:
            await self._move_to_other_builds(ended, besides=lost)
            self._ended -= ended
        if found:
            held = await self.release_held(list(self._ground.epochs))
            log.info("hosts_found", names=sorted(found), held_runs=held)
            self._found -= found
            self._looks = LATE_LOOKS
        elif self._looks:
            self._looks -= 1
            await self.release_held(list(self._ground.epochs))

    def _doubted(self) -> None:
        """The streams look whole. What they confirmed before we lost the connection may be gone all the same."""
        doubted = self._ground.lately.doubted()
        self._ground.lately.looked()
        count = 0
        for run_id, order in doubted.items():
            live, partition = self._ground.runs.get(run_id), self._ground.partition(run_id)
            if self._ground.owns(partition) and partition not in self._deriving and (live is None or not live.state.terminal):
                self._each([run_id], order)
                count += 1
        if count:
            log.info("published_again_after_reconnect", runs=count)

    async def _unreceived_mail(self) -> None:
        """Hand over messages between runs that lay unreceived for a whole round: their sender's replica ended before it could send them.

        Only then: what is younger is on its way. Skipped while there is more to do than a page.
        """
        if len(self._ground.box) >= PAGE:
            return
        lying = {}
        for partition in self._compared & self._ground.epochs.keys():
            for letter in await self._takeover.unreceived(partition):
                lying[letter.inbox_id] = letter
        late = [letter for inbox_id, letter in lying.items() if inbox_id in self._lying]
        self._lying = set(lying)
        for letter in late:
            self._ground.box.put(letter)
        if late:
            log.warning("mail_lay_unreceived", letters=len(late))

    async def _marks(self) -> dict[str, tuple[str, int]]:
        """Creation time and last sequence of every stream; one that is missing is made. And the generation of them all."""
        self._confirmed = dict(self._ground.stored)  # before it is asked for: what is confirmed meanwhile may be above the mark
        marks = {GENERATION: (await self._ground.store.streams.load()).get(GENERATION, ("", 0))}
        for spec in self._specs:
            mark = await self._ground.bus.stream_mark(spec.name) or await self._ground.bus.ensure_stream(spec)
            marks[spec.name] = self._seen[spec.name] = (mark.created, mark.last_seq)
        return marks

    async def _compare(self, marks: dict[str, tuple[str, int]], partitions: Collection[int]) -> None:
        """Derive the work of partitions that were last dispatched on other streams than these.

        Kept per partition, because a wipe may happen while nobody owns one. Nothing is purged: old messages are harmless, and another
        replica may have dispatched its part already.
        """
        settled, self._settled = self._settled, {}
        await self._save(settled)
        partitions = [p for p in partitions if p not in self._deriving]
        backwards = await self._backwards(marks, partitions)
        for name, (created, _) in marks.items():
            self._ground.roads[name] = digest_of(f"{created} {marks[GENERATION][0]}".encode())[:8]
        stale = [p for p in partitions if backwards or any(self._other(f"{name}@{p}", mark) for name, mark in marks.items())]
        if stale:
            log.warning("streams_changed", partitions=stale, backwards=backwards)
        kept = {f"{name}@{p}": mark for p in partitions if p not in stale for name, mark in marks.items()}
        for partition in stale:
            await self._derive_after_a_wipe(partition, {f"{name}@{partition}": mark for name, mark in marks.items()})
        await self._save({key: mark for key, mark in kept.items() if self._known.get(key) != mark})

    async def _backwards(self, marks: dict[str, tuple[str, int]], partitions: Collection[int]) -> list[str]:
        """Streams that lost their newest messages and kept their identity. Every other replica is to derive its work again too."""
        streams = {name: mark for name, mark in marks.items() if name != GENERATION}
        found = [name for name, mark in streams.items() if self._shrunk(name, mark, partitions)]
        told = any(self._known.get(f"{GENERATION}@{p}", marks[GENERATION]) != marks[GENERATION] for p in partitions)  # by another replica
        if found and not told:
            marks[GENERATION] = (uuid.uuid4().hex, 0)
            await self._save({GENERATION: marks[GENERATION]})
        for name, (created, last) in streams.items():  # from here on the generation says it
            if name in found or self._identities.get(name, created) != created:
                self._ground.stored[name] = last
            self._identities[name] = created
        return found

    def _shrunk(self, name: str, mark: tuple[str, int], partitions: Collection[int]) -> bool:
        created, last = mark
        if self._identities.get(name) == created and self._confirmed.get(name, 0) > last:
            return True
        marks = (self._known.get(f"{name}@{p}") for p in partitions)
        return any(known is not None and known[0] == created and known[1] > last for known in marks)

    async def _save(self, marks: dict[str, tuple[str, int]]) -> None:
        if marks:
            await self._ground.store.streams.save(marks)
            self._known.update(marks)

    async def _derive_after_a_wipe(self, partition: int, marks: dict[str, tuple[str, int]]) -> None:
        """The new marks count only when all that was derived is in JetStream: if we die before, the next owner must derive it again."""

        def settled() -> None:
            self._deriving.discard(partition)
            if tally.whole:
                self._settled.update(marks)
            self._note.set()

        self._deriving.add(partition)
        tally = Tally(settled)
        try:
            await self._derive([partition], tally)
        except BaseException:
            tally.dropped()
            raise
        finally:
            tally.done()

    def _other(self, key: str, mark: tuple[str, int]) -> bool:
        known = self._known.get(key)
        return known is not None and (mark[0] != known[0] or mark[1] < known[1])

    async def _elsewhere(self, workers: Sequence[str]) -> None:
        """Runs whose coroutine a lost worker held get a new activation.

        What lies on its own subject stays there for a while (`lingering`, row 22): it may be for runs of partitions that are not
        ours, whose owner still hears that worker and would never send it again. Its consumer goes: one with unacked messages never
        expires by itself. Should the worker come back, it makes its consumer again, everything unacked comes again, and the digests
        tell what is stale.

        Memory is looked at as well, and before the table: an answer of the worker may be decided and not committed yet, and what that
        led to goes to the worker's own subject, which nobody reads any more.
        """
        for worker in map(WorkerId, workers):
            spec = sticky_consumer(self._ground.subjects, worker)
            await self._ground.bus.delete_consumer(spec.stream, spec.name)
        live = self._ground.runs.of_workers(frozenset(workers))
        run_ids = sorted({*live, *await self._ground.store.log.runs_of_workers(list(self._ground.epochs), workers)})
        log.info("workers_lost", workers=list(workers), runs=len(run_ids))
        self._each(run_ids, Rederive(activation_only=True))

    async def _move_to_other_builds(self, ended: Collection[tuple[str, str]], besides: Collection[str]) -> None:
        """Activations for any worker of a build that nobody hosts lie where nobody looks. A run without an answer has no build yet.

        `besides` are workers whose runs were given others already: a second activation could reach a second worker.
        """
        agents = {agent for agent, _ in ended}
        count = 0
        for partition in list(self._ground.epochs):
            async for row in self._open_runs(partition):
                if row.agent in agents and row.worker not in besides and (not row.build or (row.agent, row.build) in ended):
                    self._each([row.run_id], Rederive(activation_only=True))
                    count += 1
        log.info("builds_ended", builds=sorted(f"{agent}@{build}" for agent, build in ended), runs=count)

    async def move_untaken(self, ended: Collection[tuple[str, str]], partitions: Collection[int]) -> int:
        """Give runs of these partitions out again that no worker holds and that one of these (agent, build) was to take up; their number.

        Of a run that nobody has answered it is not known which build that was: all of the agent's count. Raises `Unreachable`.
        """
        agents = {agent for agent, _ in ended}
        count = 0
        for partition in partitions:
            async for row in self._open_runs(partition):
                if row.agent in agents and not row.worker and not row.held and (not row.build or (row.agent, row.build) in ended):
                    self._each([row.run_id], Rederive(activation_only=True))
                    count += 1
        return count

    async def _open_runs(self, partition: int) -> AsyncIterator[RunRow]:
        after = ""
        while True:
            rows = await self._ground.store.log.open_runs(partition, after=after, limit=PAGE)
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            after = rows[-1].run_id

    async def release_held(self, partitions: Sequence[int]) -> int:
        """Look again at what is held for want of a host; the number of runs. A host may have come while nobody owned the partition."""
        run_ids = await self._ground.store.log.held_runs(partitions)
        self._each(run_ids, HostFound())
        return len(run_ids)

    def _each(self, run_ids: Iterable[RunId], mail: Rederive | HostFound, tally: Tally | None = None) -> None:
        for run_id in run_ids:
            self._put(Letter(mail=mail, run_id=run_id, partition=self._ground.partition(run_id)), tally)

    def _put(self, letter: Letter, tally: Tally | None) -> None:
        if tally is not None:
            tally.count(letter)
        self._ground.box.put(letter)
