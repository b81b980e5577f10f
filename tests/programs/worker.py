"""One run on one worker: the turns of `waypost_worker.session` without its transport. A turn ends well or in a `Crash`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Protocol

from msgspec import Raw

from tests.programs.calendar import ANSWER, Calendar
from tests.programs.hosts import Answer, Close, Feed, Finish, Grant, Host, Open, Order, Replay
from tests.programs.runs import Run
from tests.programs.trouble import Crash, Troubles
from waypost.execution import EffectResult
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId, chain_digest
from waypost_proto.values import Token
from waypost_proto.work import Activation

_numbers = count()
"""Executions on a host are told apart by these."""


class Diverged(AssertionError):
    """A healthy replay asked for something else than the journal has."""


class Surroundings(Protocol):
    """What a worker needs of the world."""

    calendar: Calendar
    step_ends: dict[tuple[str, str], float]
    """When a step that was started once would have ended: the one that is started again ends then."""
    steps_started: dict[tuple[str, str], int]

    def advance(self, run: Run, message: mb.Advance) -> bool:
        """True: accepted."""
        ...

    source: str
    troubles: Troubles
    swap: tuple[str, str] | None

    def result_of(self, run: Run, call_id: CallId, name: str) -> EffectResult: ...
    def lost(self, slot: Slot, *, wiped: bool = False, zombie: bool = False) -> None:
        """The worker of this run is gone, or counts as gone (`zombie`)."""
        ...

    def late(self, slot: Slot, message: mb.Advance) -> None:
        """The worker is gone, and its last advance arrives later."""
        ...


class Slot:
    """`name` is the worker's. Nothing happens any more once it is closed."""

    def __init__(self, world: Surroundings, run: Run, host: Host, source: str, name: str) -> None:
        self.run = run
        self.name = name
        self.closed = False
        self.paused = False
        self.in_flight: dict[str, str] = {}
        """Local effects by id, with their names."""
        self._world = world
        self._host = host
        self._source = source
        self._number: int | None = None
        self._tip = ""
        self._wanted: list[tuple[str, str]] = []
        self._items: list[Raw] = []
        self._seen = 0
        self._diverged = False
        self._must_answer = False
        self._reported = 0
        self._token = Token(epoch=1, counter=0)

    # -- what happens

    def activate(self, activation: Activation) -> None:
        """There is something new, or the run is to be taken up."""
        if self._number is not None and activation.base != self._tip:
            self._world.lost(self)  # the journal has gone on without us
            return
        self._token = activation.token
        self.paused = False
        if self._number is None:
            self._open(activation)
        else:
            self._ask(Grant(activation.steps_left, list(activation.unfunded)))
        self._ask(Feed(activation.entries))
        self._must_answer = True
        self.flush()

    def effect_ended(self, call_id: str) -> None:
        """A local effect is through: its name says how."""
        if self.closed or call_id not in self.in_flight:
            return
        name = self.in_flight.pop(call_id)
        self._ask(Finish(self._world.result_of(self.run, CallId(call_id), name)))
        self.flush()

    def close(self) -> None:
        """As if the process were gone. Idempotent."""
        if not self.closed and self._number is not None:
            self._host.ask(self._number, Close())
        self.closed = True

    # -- a turn

    def flush(self) -> None:
        """Report what is new, then start what is wanted; each time something may go wrong."""
        if self.closed:
            return
        items, self._items = self._items, []
        crash = Crash.NONE
        if self._diverged:  # its only item is the report
            self._send(items, 0)
            self._world.lost(self)
            return
        if items or self._must_answer or (self._reported and not self._running):
            crash = self._world.troubles.turn(empty=not items)
            if not self._report(items, crash):
                return
        self._must_answer = False
        if not self.paused:
            self._start_wanted()
        if crash is Crash.ZOMBIE:
            self._world.lost(self, zombie=True)
        elif self._world.swap is not None and self._world.swap[0] == self._tip and items:
            self._world.lost(self)

    @property
    def _running(self) -> int:
        return len(self.in_flight) + len(self._wanted)

    def _report(self, items: Sequence[Raw], crash: Crash) -> bool:
        """Send an advance, or what the crash leaves of it. False: this worker is gone."""
        world = self._world
        if crash is Crash.BEFORE:
            world.lost(self)
            return False
        if crash is Crash.LATE:
            world.late(self, self._advance(items, self._running))
            return False
        if crash is Crash.SPLIT and items:
            kept = items[: 1 + world.troubles.number() % len(items)]
            world.troubles.torn |= len(kept) < len(items) and _ends(items[-1])
            if self._send(kept, max(1, self._running)):
                world.lost(self)
            return False
        if not self._send(items, self._running):
            return False
        if crash in (Crash.AFTER, Crash.WIPE, Crash.SPLIT):
            world.lost(self, wiped=crash is Crash.WIPE)
            return False
        if crash is Crash.TWICE and items:
            before = len(self.run.log)
            world.advance(self.run, self._sent)
            assert len(self.run.log) == before, "an advance that arrived twice was recorded twice"
        return True

    def _send(self, items: Sequence[Raw], running: int) -> bool:
        message = self._sent = self._advance(items, running)
        if not self._world.advance(self.run, message):
            self._world.lost(self)
            return False
        self._reported = running
        if items:
            self._tip = chain_digest(self._tip, bytes(message.items))
        return not self.closed  # the run may have ended by it

    def _advance(self, items: Sequence[Raw], running: int) -> mb.Advance:
        return mb.Advance(
            run_id=self.run.run_id,
            agent=self.run.agent,
            worker=self.name,
            build="b1",
            token=self._token,
            base=self._tip,
            seen=self._seen,
            running=running,
            items=Raw(b"[" + b",".join(bytes(item) for item in items) + b"]"),
        )

    def _start_wanted(self) -> None:
        world, wanted = self._world, self._wanted
        self._wanted = []
        for call_id, name in wanted:
            key = (self.run.run_id, call_id)
            assert call_id not in self.run.recorded_steps, f"step {call_id} is recorded and was started again"
            world.steps_started[key] = world.steps_started.get(key, 0) + 1
            self.in_flight[call_id] = name
            at = world.step_ends.setdefault(key, world.calendar.now + takes_of(name))
            world.calendar.plan(at, ANSWER, self.run.run_id, f"step {call_id} of {self.name}", partial(self.effect_ended, call_id))

    # -- the host

    def _open(self, activation: Activation) -> None:
        self._number = next(_numbers)
        self._ask(Open(self._source, self.run.agent, self.run.run_id, activation.steps_left, list(activation.unfunded)))
        if activation.base or activation.seen or self.run.state.fork is not None:
            self._tip = self.run.state.digest
            self._ask(Replay(list(self.run.journal), self.run.state.seen))

    def _ask(self, order: Order) -> None:
        assert self._number is not None
        answer: Answer = self._host.ask(self._number, order)
        self._items += answer.items
        self._wanted += answer.effects
        self._seen = answer.seen
        self._diverged |= answer.diverged
        if answer.diverged and self._source == self._world.source:
            raise Diverged(f"on {self._host.name}: {bytes(answer.items[-1]).decode() if answer.items else '?'}")


def _ends(item: Raw) -> bool:
    return b'"type":"complete_run"' in bytes(item) or b'"type":"fail_run"' in bytes(item)


def takes_of(name: str) -> float:
    """How long a step takes, by its name (`leaves.Step`)."""
    return float(name.split("-")[2])
