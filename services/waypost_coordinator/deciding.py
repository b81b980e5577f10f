"""The one who decides: letters in, a batch out. Everything between a message and its commit, in memory.

States are changed in place while deciding, ahead of the commit; nothing of it leaves this process before the commit has
succeeded, but for reads that nothing has to allow (`Settler.before`), and a failed commit drops the states (CORRECTNESS.md row 1).
"""

from __future__ import annotations

from random import Random

import msgspec

from waypost_coordinator.batch import Batch, Told
from waypost_coordinator.encoding import Stamp, event_row, run_row
from waypost_coordinator.forks import Beginning, applied, measured
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter, Rederive
from waypost_coordinator.live import LiveRun
from waypost_coordinator.measuring import MEASURED
from waypost_coordinator.posting import Poster
from waypost_coordinator.reading import Reader
from waypost_coordinator.registry import Registry
from waypost_coordinator.waking import Waker
from waypost_core import effects as fx
from waypost_core.decide import decide
from waypost_core.decision import Decision
from waypost_core.evolve import evolve
from waypost_core.messages import Env, HostFound, TimersDue
from waypost_core.react import outstanding, react
from waypost_core.state import RunState
from waypost_core.timing import LATEST, due_of
from waypost_io.store.ports import TimerRow
from waypost_proto import events as ev
from waypost_proto.events import OUTSIDE
from waypost_proto.mailbox import Advance, Control, ForkRun, GrantLease, RecallLease, Reply, Resume, StartRun, ToolMail
from waypost_proto.work import Accepted, Rejected

TO_CHILDREN = (Control, GrantLease, RecallLease)
"""What a parent sends to a child that it has started."""


class Undecidable(Exception):  # a fact about a letter, not an error of the caller's
    """A letter breaks the rules of the machine (a bug, or a poison message). States changed in this batch are not to be trusted."""

    def __init__(self, letter: Letter, error: Exception) -> None:
        super().__init__(f"{type(letter.mail).__name__} for run {letter.run_id}: {type(error).__name__}: {error}")
        self.letter = letter


class Decider:
    """Builds batches. `positions` is the last position decided in each partition."""

    def __init__(self, ground: Ground, poster: Poster, waker: Waker, registry: Registry) -> None:
        self._ground = ground
        self._poster = poster
        self._waker = waker
        self._registry = registry
        self._random = Random()  # noqa: S311  # jitter, not a secret
        self.positions: dict[int, int] = {}
        self.reader = Reader(ground, lambda: registry.agents)

    async def decide(self, letters: list[Letter]) -> Batch:
        """A batch of everything that `letters` lead to. Those that need a long log read first are taken out of the list, see `reading`.

        Raises `Unreachable` when states cannot be loaded (nothing has changed then), and `Undecidable`.
        """
        owned = frozenset(self._ground.epochs)  # a state loaded while another replica may write it must not be in the cache when we own it
        broken = await self._ground.runs.load(letter.run_id for letter in letters if letter.partition in owned and not letter.new)
        read = self.reader.ready(letters)
        batch = Batch(letters=[], deriving=self.reader.deriving())
        env = Env(now=self._ground.clock.now(), jitter=self._random.random(), tools=self._registry.tools, agents=self._registry.agents)
        stamp = Stamp(env.now)
        for letter in letters:
            if letter.partition not in self._ground.epochs:
                _not_ours(letter)
                continue
            if letter.partition not in owned:  # it became ours while states were loaded, perhaps one of this run as another left it
                self._ground.box.put_back([letter])
                continue
            if letter.run_id in broken:
                raise Undecidable(letter, broken[letter.run_id])
            try:
                self._one(batch, letter, read.env(env, letter, self._ground.runs.get(letter.run_id)), stamp, read.beginnings.get(letter))
            except Exception as error:
                raise Undecidable(letter, error) from error
        for live, forced in self._waker.due():
            if live.partition in self._ground.epochs:
                self._waker.wake(batch, live, epoch=self._ground.epochs[live.partition], forced=forced)
        for run_id in batch.touched:
            run = self._ground.runs.get(run_id)
            assert run is not None
            batch.rows.runs[run_id] = run_row(run.state, partition=run.partition, unhosted=run.unhosted)
        return batch

    def _one(self, batch: Batch, letter: Letter, env: Env, stamp: Stamp, beginning: Beginning | None = None) -> None:
        live = self._ground.runs.get(letter.run_id)
        if isinstance(letter.mail, Rederive):
            batch.letters.append(letter)
            if live is not None:
                self._rederive(batch, live, letter.mail)
            return
        decision = decide(None if live is None else live.state, letter.mail, env)
        batch.letters.append(letter)
        if letter.inbox_id and not _comes_again(live, letter, decision):
            batch.rows.inbox_remove.append(letter.inbox_id)
        if live is None and decision.events:
            live = self._born(letter, beginning)
            if beginning is not None:
                self._forked(batch, live, beginning)
        if live is not None:
            self._apply(batch, live, letter, decision, stamp)
        if isinstance(letter.mail, Advance):
            self._answer_worker(batch, live, letter, letter.mail, decision)
        if decision.reply is not None and letter.answer is not None:
            status = decision.reply.status if live is None else live.state.status
            batch.replies.append((letter, msgspec.structs.replace(decision.reply, status=status)))

    def _born(self, letter: Letter, beginning: Beginning | None) -> LiveRun:
        start = letter.mail
        assert isinstance(start, StartRun | ForkRun), "only a start or a fork makes a run"
        if isinstance(start, ForkRun):
            assert beginning is not None
            assert beginning.draft.state is not None
            state = beginning.draft.state
        else:
            correlation_id = start.correlation_id or start.run_id
            state = RunState(run_id=start.run_id, agent=start.agent, tenant=start.tenant, correlation_id=correlation_id)
        live = LiveRun(state=state, partition=letter.partition)
        self._ground.runs.add(live)
        return live

    def _forked(self, batch: Batch, live: LiveRun, beginning: Beginning) -> None:
        """The events that a fork begins with."""
        partition = live.partition
        position = self.positions.get(partition, 0)
        rows = beginning.begin(live, position=position)
        self.positions[partition] = position + len(rows)
        batch.rows.events.extend(rows)

    def _apply(self, batch: Batch, live: LiveRun, letter: Letter, decision: Decision, stamp: Stamp) -> None:
        """Append the events, change the state, and post what follows."""
        state, partition = live.state, live.partition
        first, cause = state.seq + 1, decision.cause
        stamp = stamp.not_before(state.recorded_at)
        for data in decision.events:
            position = self.positions[partition] = self.positions.get(partition, 0) + 1
            row, entry = event_row(state, data, stamp=stamp, partition=partition, position=position, cause=cause)
            evolve(state, row.seq, stamp.at, data, cause)
            cause = ""
            batch.rows.events.append(row)
            if state.fork is not None:
                applied(live, data)
            if type(data) in MEASURED and (state.fork is None or measured(live, data)):
                batch.told.append(Told(live, stamp.at, data))
            if row.type in OUTSIDE:
                live.told((entry,))
        effects = list(decision.effects)
        for offset, data in enumerate(decision.events):
            effects.extend(react(state, first + offset, data))
        resumed = any(isinstance(data, ev.RunResumed) for data in decision.events)  # its worker has let the run go
        for effect in effects:
            if isinstance(effect, fx.Activate):
                self._waker.want(live, forced=resumed)
            else:
                self._poster.post(batch, live, effect)
        if decision.events:
            batch.touched.add(state.run_id)
            batch.positions[partition] = self.positions[partition]
        elif isinstance(letter.mail, TimersDue) and not state.paused:
            self._not_due(batch, live, letter.mail)
        elif isinstance(letter.mail, HostFound) and live.unhosted:
            self._waker.want(live, forced=True)
        elif isinstance(letter.mail, ToolMail) and letter.mail.call_id not in state.calls:
            self._poster.overtook(state.run_id, letter.mail.call_id)

    def _not_due(self, batch: Batch, live: LiveRun, mail: TimersDue) -> None:
        """Clear timers that mean nothing any more; keep one that was moved while its letter was under way."""
        for timer_id in mail.timer_ids:
            due_at = due_of(live.state, timer_id)
            row = None if due_at is None else TimerRow(live.state.run_id, timer_id, live.partition, min(due_at, LATEST))
            batch.rows.timers[live.state.run_id, timer_id] = row

    def _answer_worker(self, batch: Batch, live: LiveRun | None, letter: Letter, mail: Advance, decision: Decision) -> None:
        """Tell the worker what became of its advance, and see whether the run needs another activation."""
        if decision.accepted is None:
            batch.rejected.setdefault(mail.worker, []).append(Rejected(mail.run_id, mail.base, decision.rejected))
            if live is not None:
                self._waker.rejected(live, mail.worker, letter)
            return
        assert live is not None
        digest, seen = decision.accepted
        batch.accepted.setdefault(mail.worker, []).append(Accepted(mail.run_id, digest, seen))
        self._waker.answered(live, seen, mail.token)

    def _rederive(self, batch: Batch, live: LiveRun, order: Rederive) -> None:
        """Everything outstanding again. Children are started again, permits and timers are rows and need nothing."""
        epoch = self._ground.epochs[live.partition]
        if order.wake and live.state.wants_worker:
            self._waker.want(live, forced=True, fresh=order.fresh)
        for effect in outstanding(live.state, above=order.above):
            if isinstance(effect, fx.Activate):
                self._waker.want(live, forced=True, fresh=order.fresh)
            elif not order.activation_only:
                emission = self._poster.emissions.again(epoch) if order.fresh else 0
                self._poster.post(batch, live, effect, emission=emission)


def _comes_again(live: LiveRun | None, letter: Letter, decision: Decision) -> bool:
    """Whether the letter may have overtaken one that its sender sent before (a lost publish is repeated seconds later). Its row stays,
    and the sweep brings both in order: a command before its run's start, and a resume before its pause, which would hold the run for ever.
    """
    if live is None:
        return isinstance(letter.mail, TO_CHILDREN)
    return isinstance(letter.mail, Resume) and not letter.in_order and not decision.events and not live.state.terminal


def _not_ours(letter: Letter) -> None:
    """The partition was lost while the letter waited. Its message stays unacked for the new owner; a caller is told to try again."""
    letter.drop(Reply(run_id=letter.run_id, ok=False, code="503", message="the run's partition is moving to another replica; try again"))
