"""Letters: everything that wants to change a run, from wherever it came, with who to tell when that is done.

Owns the queue between those who receive (mailbox pumps, intake, API, timers) and the one who decides. It is bounded by its
sources: a pump pulls no more than its puller allows, and an API request waits for its answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from waypost_core.messages import AnyMessage
from waypost_io.bus.parts import Part
from waypost_io.bus.ports import Delivery
from waypost_proto.ids import RunId
from waypost_proto.mailbox import Reply

UNLIMITED = 1 << 30


@dataclass(frozen=True, slots=True)
class Rederive:
    """Derive what should be on the road again, from the state alone.

    `above`: only what an event after this seq caused (a take-over). `activation_only`: the worker is lost, the rest is not. `fresh`:
    under new message ids and a new token, because the old ones may be lost; a take-over keeps the ids, because they may not be.
    """

    above: int = 0
    fresh: bool = True
    activation_only: bool = False
    wake: bool = False
    """Among what a take-over publishes again is an event after which the run gets an activation although nothing outside is new."""


Message = AnyMessage | Rederive


@dataclass(slots=True, eq=False)
class Letter:
    """One message for one run.

    `done` is called when its events are committed and its dispatches are in JetStream; `answer` and `committed` right after the
    commit. `dropped` is called instead of `committed` when the letter is given up here: whoever takes the partition over derives it
    again. `buried` is called when nothing will ever come of it. `limit` is the size of batch that it may be part of: a letter from a
    failed batch is tried in smaller company. `place` is its place in the order of arrival. A stored message comes with its
    `delivery`, or in its parts; `source` names it for counting failures, "" for letters that the shell wrote itself. `new`: as far as
    anybody can know its run is not in the store, so it is not looked for; if it is there all the same, the commit is refused.
    """

    mail: Message
    run_id: RunId
    partition: int
    done: Callable[[], None] | None = None
    answer: Callable[[Reply], None] | None = None
    committed: Callable[[], None] | None = None
    dropped: Callable[[], None] | None = None
    buried: Callable[[], None] | None = None
    inbox_id: str = ""
    in_order: bool = False
    """Read from the inbox, after whatever its sender had sent before it."""
    source: str = ""
    subject: str = ""
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    delivery: Delivery | None = None
    """Of the mailbox: looked into only when the letter cannot be handled."""
    limit: int = UNLIMITED
    new: bool = False
    failures: int = 0
    place: int = 0

    def drop(self, reply: Reply) -> None:
        """Give it up here: its message stays unacked, its caller is told `reply`."""
        if self.answer is not None:
            self.answer(reply)
        if self.dropped is not None:
            self.dropped()


def source_of(delivery: Delivery) -> str:
    """The name of a stored message of the mailbox, or of a part of one."""
    part = f"-{delivery.number}" if isinstance(delivery, Part) else ""
    return f"MAILBOX.{delivery.timestamp}.{delivery.stream_seq}{part}"


class Tally:
    """Counts letters until all of them are done or given up; then `settled` is called, once, and `whole` says whether all were done.

    It holds one count of its own from the start, for whoever still adds letters: give it back with `done`.
    """

    def __init__(self, settled: Callable[[], None]) -> None:
        self._settled = settled
        self._left = 1
        self.whole = True

    def count(self, letter: Letter) -> None:
        """Wait for this letter too."""
        self._left += 1
        letter.done, letter.dropped, letter.buried = self.done, self._drop, self.done

    def done(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._settled()

    def dropped(self) -> None:
        """Something is missing, and no letter stands for it."""
        self.whole = False

    def _drop(self) -> None:
        self.dropped()
        self.done()


class LetterBox:
    """First in, first out, also for letters that are put back; `take` gives batches that respect each letter's limit."""

    def __init__(self) -> None:
        self._letters: deque[Letter] = deque()
        self._filled = asyncio.Event()
        self._places = 0

    def __len__(self) -> int:
        return len(self._letters)

    def put(self, letter: Letter) -> None:
        self._places += 1
        letter.place = self._places
        self._letters.append(letter)
        self._filled.set()

    def put_back(self, letters: Iterable[Letter]) -> None:
        """Where they were: before everything that came after them, whoever puts back first (pause must stay before resume)."""
        self._letters = deque(sorted([*letters, *self._letters], key=lambda letter: letter.place))
        if self._letters:
            self._filled.set()

    def remove(self, partitions: Iterable[int]) -> list[Letter]:
        """Take out and return the letters of partitions that are no longer ours."""
        gone = set(partitions)
        removed = [letter for letter in self._letters if letter.partition in gone]
        if removed:
            self._letters = deque(letter for letter in self._letters if letter.partition not in gone)
        if not self._letters:
            self._filled.clear()
        return removed

    async def filled(self) -> None:
        """Wait until there is a letter."""
        while not self._letters:
            self._filled.clear()
            await self._filled.wait()

    def take(self, most: int) -> list[Letter]:
        """The first letters, at most so many; none if there are none."""
        taken: list[Letter] = []
        while self._letters and len(taken) < min(most, self._letters[0].limit):
            letter = self._letters.popleft()
            taken.append(letter)
            most = min(most, letter.limit)
        return taken


def not_confirmed(letter: Letter, why: str) -> Reply:
    """What a caller is told whose request may or may not be applied."""
    return Reply(run_id=letter.run_id, ok=False, code="504", message=f"not confirmed: {why}; it may still be applied, asking again is safe")


def repeated(letter: Letter) -> Reply:
    """What a caller is told whose request is already recorded."""
    return Reply(run_id=letter.run_id, ok=True, duplicate=True)
