"""Reads, beside the pipeline, the logs that forks need: the one that a fork begins with, and the one that it is answered from.

    letters ─▶ `ready` ─┬─ nothing to read ─▶ decided in this batch
                        └─ set aside ─▶ `run` reads and folds in slices ─▶ back into the box, in their places

Whoever decides never waits for a log: letters of other runs go on, and those of the same run wait behind the first in their order. Slices
are short, so that the loop is free between them. One log is read at a time, and each is bounded (`MAX_FORK_EVENTS`). A tape is dropped
when its fork pauses, ends or goes live, and read again when it is resumed, so that it holds what the source was answered meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

import msgspec
import structlog

from waypost_coordinator.forks import Beginning
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter, Rederive
from waypost_coordinator.live import LiveRun
from waypost_core.drafting import Draft
from waypost_core.messages import Env
from waypost_core.tape import Tape
from waypost_proto.codec import decode, decode_union
from waypost_proto.errors import TransientError
from waypost_proto.events import AnyData, Event
from waypost_proto.ids import RunId
from waypost_proto.limits import MAX_FORK_EVENTS
from waypost_proto.mailbox import ForkRun, Resume
from waypost_proto.registry import AgentDefinition

PAGE = 500
"""Events that are read, and folded, before somebody else has a turn: some milliseconds."""
RETRY_SECONDS = 1.0
log = structlog.get_logger(__name__)
Known = Callable[[], dict[str, AgentDefinition]]


@dataclass(slots=True)
class _Aside:
    """Letters of one run that wait, and what was read for the first of them."""

    letters: list[Letter]
    beginning: Beginning | None = None
    tape: Tape | None = None
    failed: Exception | None = None
    done: bool = False
    upto: int = 0
    """The last event of the run's own that the tape knows."""


@dataclass(slots=True)
class Read:
    """What the letters of one batch need, by letter."""

    beginnings: dict[Letter, Beginning] = field(default_factory=dict)
    failed: dict[Letter, Exception] = field(default_factory=dict)

    def env(self, env: Env, letter: Letter, live: LiveRun | None) -> Env:
        """`env` with what this letter needs of it. Raises what its reading raised."""
        if letter in self.failed:
            raise self.failed[letter]
        beginning = self.beginnings.get(letter)
        if beginning is not None:
            return msgspec.structs.replace(env, draft=beginning.draft)
        if live is not None and live.tape is not None:
            return msgspec.structs.replace(env, tape=live.tape)
        return env


class Reader:
    """`run` in a task. Everything else is called by whoever decides, and does not wait."""

    def __init__(self, ground: Ground, agents: Known) -> None:
        self._ground = ground
        self._agents = agents
        self._aside: OrderedDict[RunId, _Aside] = OrderedDict()
        self._wanted: asyncio.Queue[RunId] = asyncio.Queue()

    def __len__(self) -> int:
        return sum(len(aside.letters) for aside in self._aside.values() if not aside.done)

    def ready(self, letters: list[Letter]) -> Read:
        """Keep in `letters` those that can be decided now, and set the others aside. Their runs are loaded already."""
        read = Read()
        now: list[Letter] = []
        for letter in letters:
            aside = self._aside.get(letter.run_id)
            if aside is not None and aside.done and aside.letters[0] is letter:
                if self._stale(letter, aside):
                    self._set_aside(letter)
                    continue
                del self._aside[letter.run_id]
                self._take(read, letter, aside)
                now.append(letter)
            elif aside is not None and not aside.done:
                aside.letters.append(letter)
            elif self._needs(letter):
                self._set_aside(letter)
            else:
                now.append(letter)
        letters[:] = now
        return read

    def deriving(self) -> frozenset[int]:
        """Partitions with an order to derive a run's work again that waits here.

        Only memory knows of it. Whoever takes the partition over derives what lies above the published position, so nothing that is
        decided meanwhile may move that.
        """
        if not self._aside:
            return frozenset()
        waiting = (letter for aside in self._aside.values() for letter in aside.letters)
        return frozenset(letter.partition for letter in waiting if isinstance(letter.mail, Rederive))

    def remove(self, partitions: Iterable[int]) -> list[Letter]:
        """Take out and return what waits for runs of partitions that are no longer ours."""
        gone = set(partitions)
        lost = [run_id for run_id, aside in self._aside.items() if aside.letters[0].partition in gone]
        return [letter for run_id in lost for letter in self._forget(run_id)]

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            run_id = await self._wanted.get()
            aside = self._aside.get(run_id)
            if aside is None or aside.done:
                continue
            try:
                await self._read(aside)
            except TransientError as error:
                log.warning("fork_not_read", run_id=run_id, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._wanted.put_nowait(run_id)
                continue
            except Exception as error:  # noqa: BLE001  # whatever is wrong with this log, its letter is buried with it
                aside.failed = error
            if self._aside.get(run_id) is aside:
                aside.done = True
                waiting, aside.letters = aside.letters, aside.letters[:1]
                self._ground.box.put_back(waiting)

    # -- what is needed

    def _needs(self, letter: Letter) -> bool:
        live = self._ground.runs.get(letter.run_id)
        if isinstance(letter.mail, ForkRun):
            return live is None
        if live is None or live.state.fork is None:
            return False
        state, fork = live.state, live.state.fork
        again = isinstance(letter.mail, Resume)
        wanted = fork.began and fork.tools != "live" and not state.terminal
        return wanted and (again or (live.tape is None and not state.paused))

    def _set_aside(self, letter: Letter) -> None:
        self._aside[letter.run_id] = _Aside([letter])
        self._wanted.put_nowait(letter.run_id)

    def _stale(self, letter: Letter, aside: _Aside) -> bool:
        """Whether the run has events that were not committed yet when its log was read: what they repeat would be told again."""
        live = self._ground.runs.get(letter.run_id)
        return aside.tape is not None and live is not None and aside.upto < live.state.seq

    def _take(self, read: Read, letter: Letter, aside: _Aside) -> None:
        live = self._ground.runs.get(letter.run_id)
        if aside.failed is not None:
            read.failed[letter] = aside.failed
        elif aside.beginning is not None:
            read.beginnings[letter] = aside.beginning
        elif live is not None:
            live.tape = aside.tape

    def _forget(self, run_id: RunId) -> list[Letter]:
        """What is in the box already is not ours to give back."""
        aside = self._aside.pop(run_id)
        return [] if aside.done else aside.letters

    # -- reading

    async def _read(self, aside: _Aside) -> None:
        letter = aside.letters[0]
        if isinstance(letter.mail, ForkRun):
            aside.beginning = await self._beginning(letter.mail)
            return
        live = self._ground.runs.get(letter.run_id)
        if live is not None and live.state.fork is not None:
            fork = live.state.fork
            aside.tape, aside.upto = await self._tape(letter.run_id, fork.source, fork.seq)

    async def _beginning(self, message: ForkRun) -> Beginning:
        draft = Draft(message)
        beginning = Beginning(draft)
        async for page in self._log_of(message.source):
            draft.read(page)
        agents = self._agents()
        definition = agents.get(draft.source[0].agent) if draft.source else None
        draft.settle(self._ground.clock.now(), definition)
        while draft.source and draft.copy(PAGE):
            beginning.encode()
            await asyncio.sleep(0)
        beginning.encode()
        return beginning

    async def _tape(self, run_id: RunId, source: RunId, seq: int) -> tuple[Tape, int]:
        """What `source` was answered, and up to which event of the fork it is known to be used up."""
        tape = Tape()
        async for page in self._log_of(source):
            tape.read(page)
        async for page in self._log_of(run_id, after=seq):
            for event in page:
                data: AnyData = decode_union(AnyData, event.data)
                tape.note(data)
                seq = event.seq
        return tape, seq

    async def _log_of(self, run_id: RunId, *, after: int = 0) -> AsyncIterator[list[Event]]:
        """A run's events; some more than can be forked, so that too many are seen to be too many."""
        count = 0
        while count <= MAX_FORK_EVENTS:
            page = await self._ground.store.log.load_events(run_id, after=after, limit=PAGE)
            await asyncio.sleep(0)  # what the driver made of the page was a slice, too
            if page:
                yield [decode(Event, row.body) for row in page]
            if len(page) < PAGE:
                return
            count += len(page)
            after = page[-1].seq
