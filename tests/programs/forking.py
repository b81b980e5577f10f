"""Forks of random programs: a fork with recorded answers ends as its source did, and nothing is executed for it.

What a program tells includes the run's clock and what it was given in which order, so that equal results mean the same life.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tests.programs.calendar import PEOPLE
from tests.programs.hosts import Host
from tests.programs.runs import Run
from tests.programs.tree import Program
from tests.programs.trouble import Troubles
from tests.programs.world import PATIENCE, ROOT, World
from waypost_core import effects as fx
from waypost_core.drafting import Draft
from waypost_core.forking import boundaries
from waypost_core.messages import AnyMessage, Env
from waypost_core.tape import Tape
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import RunId

FORK = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e77")
CONTROLLED = frozenset({"run_paused", "run_resumed", "breaker_tripped", "run_cancelled", "limit_warning"})
"""What people and limits did to the source: a fork has its own."""


class ForkWorld(World):
    """The life of a fork of `source`'s root at event `at`; whatever it would execute is an error."""

    def __init__(self, source: World, at: int, troubles: Troubles | None = None, hosts: Sequence[Host] = ()) -> None:
        super().__init__(source.program, troubles, hosts)
        self._origin = source.root.events()
        self._at = at
        self.calendar.now = source.calendar.now + 1_000.0
        self._handlers[fx.SendTool] = _never
        self._handlers[fx.GrantPermit] = _never
        self._handlers[fx.OpenApproval] = _never
        self._handlers[fx.SendMail] = _never

    @property
    def root(self) -> Run:
        return self.runs[FORK]

    def _people(self) -> None:
        self.runs[FORK] = Run(FORK, "main")
        self.tell(self.root, mb.ForkRun(run_id=FORK, source=ROOT, seq=self._at))
        give_up = mb.Cancel(run_id=FORK, request_id="give-up", by="owner", reason="it waits for ever")
        self.calendar.plan(self.calendar.now + PATIENCE, PEOPLE, FORK, "give-up", lambda: self.tell(self.root, give_up))

    def _env(self, run: Run, message: AnyMessage) -> Env:
        env = super()._env(run, message)
        if isinstance(message, mb.ForkRun):
            return msgspec.structs.replace(env, draft=Draft.of(message, self._origin, now=env.now))
        tape = Tape.of(self._origin)  # as a coordinator that has just come to the run has it
        for event in run.log[self._at :]:
            tape.note(event.data)
        return msgspec.structs.replace(env, tape=tape)

    def _notice(self, run: Run) -> None:
        """A fork that pauses has met a call that its source never made."""
        reason = run.state.pause_reason
        assert not run.state.paused or self._cut_short(), (
            f"a fork of an unchanged program paused: {reason}\n{self.program.describe()}\nfork at {self._at}"
        )

    def _cut_short(self) -> bool:
        """Its source was cancelled or had failed for what was done to it, before it had every answer."""
        return not ended_by_itself(self._origin)


def ended_by_itself(log: Sequence[ev.Event]) -> bool:
    """Whether the code came to its end."""
    return log[-1].type in ("run_completed", "run_failed") and not any(event.type == "run_ending" for event in log)


def check_fork(source: World, at: int, troubles: Troubles | None = None, hosts: Sequence[Host] = ()) -> ForkWorld:
    """Fork `source` at event `at`, with recorded answers: it ends as the source did, and did nothing."""
    fork = ForkWorld(source, at, troubles, hosts).live()
    assert isinstance(fork, ForkWorld)
    assert not fork.steps_started, f"local steps were run: {fork.steps_started}"
    if ended_by_itself(source.root.events()):
        mine, theirs = fork.root.log[-1], source.root.log[-1]
        assert mine.type == theirs.type, f"the fork at {at} ended as {mine}, its source as {theirs}\n{source.program.describe()}"
        assert fork.root.state.result == source.root.state.result, (
            f"fork at {at}:\n{fork.root.state.result!r}\n{source.root.state.result!r}\n{source.program.describe()}"
        )
    return fork


def check_forks(program: Program, turns: Sequence[int], hosts: Sequence[Host]) -> int:
    """Fork a life of `program` wherever that can be, with calm workers and with these crashes; returns how many forks were lived."""
    source = World(program, hosts=hosts[:1]).live()
    for at in places(source):
        check_fork(source, at, hosts=hosts)
        check_fork(source, at, Troubles(tuple(turns)), hosts)
    return 2 * len(places(source))


def places(source: World) -> list[int]:
    """Where it can be forked."""
    return boundaries(source.root.events())


def _never(run: Run, effect: Any) -> None:
    raise AssertionError(f"a fork with recorded answers put {effect} on the road")
