"""One run on this worker: an actor that serialises everything that happens to it.

What can happen: an activation arrives, a read of its journal ends, a local effect ends, an advance is in JetStream, the coordinator
confirms or rejects, the run is to be let go. Each is one synchronous method, called from the event loop; whatever takes time is a task
that calls back. `_flush` then decides what comes next, in this order:

    1. an advance is not in JetStream yet      wait: its confirmation flushes again
    2. there are new items                     one advance with all of them; nothing that builds on them begins before it is stored
    3. local effects are wanted                start them, once the run's journal is known to be ours
    4. the activation is not answered          an empty advance says that it was read
    5. nothing runs                            acknowledge the activations: the run waits

So a step's result and the tool call that it led to are one advance, and a step's result is in JetStream before the next step begins.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from waypost import Agent
from waypost.execution import EffectResult, Execution
from waypost_io import faults
from waypost_io.bus.ports import Delivery
from waypost_proto.commands import AnyItem
from waypost_proto.errors import NotFound, PermanentError, TransientError
from waypost_proto.events import OUTSIDE
from waypost_proto.ids import RunId
from waypost_proto.values import TERMINAL, Token
from waypost_proto.work import Activation, Entry, Stop
from waypost_worker.frames import EMPTY, check_in, frames_of, has_large, parts_of
from waypost_worker.hosting import Hosting, SlotOwner
from waypost_worker.journal import Journal, may_refer
from waypost_worker.outbox import Outbox, Sender
from waypost_worker.run_effects import RunEffects

_log = structlog.get_logger(__name__)
_NO_TOKEN = Token(epoch=-1, counter=-1)


class RunSlot:
    """See the module. `owner` is told when the run begins to work, comes to rest, and is to be forgotten."""

    def __init__(self, run_id: RunId, agent: Agent[..., Any], hosting: Hosting, owner: SlotOwner) -> None:
        self.run_id = run_id
        self.token = _NO_TOKEN
        self.held: list[Delivery] = []
        self.held_since = 0.0
        self.closed = False
        self._agent = agent
        self._hosting = hosting
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._execution: Execution | None = None
        self._outbox: Outbox | None = None
        self._inbox: deque[tuple[Activation, bool]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._uploading: asyncio.Task[None] | None = None
        self._effects = RunEffects(hosting.effects, hosting.clock, self._effect_done)
        self._activation: Activation | None = None
        """The one that the coroutine began with, until the journal is checked."""
        self._checked = False
        """The run's journal is known to be ours; until then no local effect starts."""
        self._must_answer = False
        self._paused = False
        self._reported = 0
        """Effects in flight as the last advance said."""
        self._announce: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Handle | None = None

    # -- what the owner asks

    @property
    def idle(self) -> bool:
        """Nothing is held, runs, or waits for a confirmation: the coroutine can be dropped and brought back from the journal."""
        return not self.held and not self._effects.in_flight and self._reading is None and not self.unconfirmed

    @property
    def unconfirmed(self) -> int:
        return self._outbox.unconfirmed if self._outbox is not None else 0

    # -- what happens

    def activate(self, delivery: Delivery, activation: Activation, *, fresh: bool) -> None:
        """An activation was delivered. Idempotent: entries the code has seen are skipped, a repeat is answered harmlessly.

        `fresh`: it begins the run, and nobody else can have begun it. Of no other beginning is that sure, whatever it says.
        """
        if not self.held:
            self.held_since = self._loop.time()
        self.held.append(delivery)
        self._inbox.append((activation, fresh))
        self._take_inbox()

    def confirm(self, digest: str) -> None:
        """The coordinator committed the advance that led to this digest."""
        if self._outbox is not None and self._outbox.confirm(digest):
            self._now_checked()
            if not self._outbox.unconfirmed:
                self._owner.confirmed(self)
                self._retire()

    def reject(self, base: str, reason: str) -> None:
        """The coordinator's journal is another one: let go; it sends a new activation where one is needed."""
        if self._outbox is None or not self._outbox.is_refused(base):
            return
        _log.info("the coordinator has another journal, letting the run go", run_id=self.run_id, reason=reason)
        self._hosting.metrics.rejected.inc()
        self._dismiss()

    def stop(self, notice: Stop) -> None:
        """The run ended, is paused, or no longer wants one of its calls."""
        match notice.why:
            case "ended":
                self._dismiss()
            case "paused":
                self._paused = True
                self._flush_soon()
            case "cancelled_call":
                if notice.call_id is not None:
                    self._effects.cancel(notice.call_id)

    def republish(self, now: float, *, all_now: bool = False) -> int:
        """Publish again what is due; the number of advances."""
        return self._outbox.republish(now, all_now=all_now) if self._outbox is not None else 0

    def keep(self) -> None:
        """Tell JetStream that the held activations are being worked on."""
        for delivery in self.held:
            delivery.in_progress()

    def close(self) -> None:
        """Forget everything, telling nobody. Held activations are delivered again. Idempotent."""
        self.closed = True
        self.held.clear()
        self._inbox.clear()
        for task in (self._reading, self._uploading):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._reading = self._uploading = None
        self._let_go()

    # -- activations

    def _take_inbox(self) -> None:
        while self._inbox and self._reading is None and not self.closed:
            self._take(*self._inbox.popleft())

    def _take(self, activation: Activation, fresh: bool) -> None:
        newer = _rank(activation.token) > _rank(self.token)
        if newer:
            if self._outbox is not None and not self._outbox.knows(activation.base):
                _log.info("the journal has gone on without this worker, reading it again", run_id=self.run_id)
                self._let_go()
            self.token = activation.token
            self._paused = False
        if self._execution is None:
            if activation.base or activation.seen or activation.fetch:
                self._hosting.metrics.misses.inc()
                self._read(activation, journal=True)
                return
            self._begin(activation, "")
            if fresh:
                self._now_checked()
        else:
            self._hosting.metrics.hits.inc()
            if newer:
                self._catch_up(activation)
            if activation.fetch or activation.seen > self._execution.seen:
                self._read(activation, journal=True)
                return
        if may_refer(activation.entries):
            self._read(activation, journal=False)
            return
        self._feed(activation.entries, None)

    def _catch_up(self, activation: Activation) -> None:
        """What a new activation says of what we sent: its base is committed; its allowance counts only what led to that base."""
        assert self._outbox is not None
        assert self._execution is not None
        self.confirm(activation.base)
        if activation.base == self._outbox.tip and self._uploading is None:
            self._execution.grant(activation.steps_left)

    def _begin(self, activation: Activation, digest: str) -> Execution:
        hosting = self._hosting
        self._activation = activation
        sender = Sender(
            run_id=self.run_id,
            agent=activation.agent,
            worker=hosting.worker,
            build=hosting.build,
            subject=hosting.subjects.mail("advance", activation.agent, self.run_id),
        )
        self._outbox = Outbox(sender, hosting.bus, hosting.tuning, self._stored, base=digest)
        self._execution = Execution(
            self._agent,
            self.run_id,
            correlation_id=activation.correlation_id,
            tenant=activation.tenant,
            steps_left=activation.steps_left,
            start_effect=self._effects.want,
        )
        return self._execution

    def _feed(self, entries: Sequence[Entry], values: Mapping[str, bytes] | None) -> None:
        assert self._execution is not None
        self._execution.feed(entries, values)
        self._must_answer = True
        faults.point("worker.activation.after")
        self._flush()

    # -- reading

    def _read(self, activation: Activation, *, journal: bool) -> None:
        """Fetch the journal (all of it, or what follows what the code has seen) or only the large values, then feed."""
        self._reading = self._owner.spawn(self._read_and_feed(activation, journal), self)

    def _check(self) -> None:
        """Make sure that nobody else has begun this run.

        The first activation says that there is no journal. It may be a repeat: its worker died, or its publish was repeated after
        a restart of the server. Commands are fenced by the digest, but a step that is recorded must not run again (P3).
        """
        if self._reading is None:
            assert self._activation is not None
            self._read(self._activation, journal=True)

    def _now_checked(self) -> None:
        self._checked = True
        self._activation = None

    async def _read_and_feed(self, activation: Activation, journal: bool) -> None:
        reader = self._hosting.reader
        read: Journal | None = None
        if journal:
            try:
                read = await reader.read(self.run_id, self._execution.seen if self._execution is not None and self._checked else 0)
            except NotFound:
                _log.warning("an activation of a run that nobody knows", run_id=self.run_id)
                self._dismiss()
                return
        try:
            values = await reader.values_of([*(read.entries if read else ()), *activation.entries])
        except PermanentError as error:  # unacknowledged it is tried again, and can be seen
            _log.error("cannot read a value that the run needs", run_id=self.run_id, error=str(error))
            self._owner.gone(self)
            return
        self._reading = None
        self._feed_read(activation, read, values)
        self._take_inbox()

    def _feed_read(self, activation: Activation, read: Journal | None, values: Mapping[str, bytes]) -> None:
        if read is None:
            self._feed(activation.entries, values)
            return
        if read.status in TERMINAL:
            self._dismiss()
            return
        if self._outbox is not None and not self._outbox.knows(read.digest):
            partial = self._checked
            self._let_go()
            if partial:
                self._read(activation, journal=True)
                return
        if self._execution is None:
            self._paused = read.status == "paused"
            self._begin(activation, read.digest).replay(read.entries, read.seen, values)
        self._now_checked()
        self._feed([*(entry for entry in read.entries if entry.type in OUTSIDE), *activation.entries], values)

    # -- answers

    def _effect_done(self, result: EffectResult) -> None:
        if self._execution is not None:
            self._execution.finish_effect(result)
            self._flush_soon()  # others may end in the same turn of the event loop: one advance for all

    def _flush_soon(self) -> None:
        if self._flushing is None and not self.closed:
            self._flushing = self._loop.call_soon(self._owner.guarded, self, self._flush)

    def _flush(self) -> None:
        """Decide what comes next; see the module."""
        self._flushing = None
        execution, outbox = self._execution, self._outbox
        if self.closed or execution is None or outbox is None or self._uploading is not None or outbox.storing:
            return
        items = execution.take_items()
        if items:
            parts = parts_of(items)
            if has_large(parts):
                self._uploading = self._owner.spawn(self._upload(items), self)
            else:
                self._send(parts)
            return
        if self._effects.wanted and not self._paused and not self._checked:
            self._check()
            return
        started = not self._paused and self._effects.start()
        if self._flushing is not None:
            return  # an effect was over before it began
        working = self._effects.in_flight
        if self._must_answer and not (working and (started or self._announce is not None)):
            self._send(())
            return
        if not working:
            if self._reading is None and not self._inbox:
                self._rest()
        elif self._announce is None and (self._must_answer or not self._reported):
            self._announce = self._loop.call_later(self._hosting.tuning.announce_running_seconds, self._announce_running)

    def _send(self, parts: Sequence[bytes]) -> None:
        """One advance with these items, or as many as their size needs; without items an empty one."""
        assert self._outbox is not None
        assert self._execution is not None
        running = self._effects.in_flight + (0 if self._paused else self._effects.wanted)
        frames = list(frames_of(parts)) if parts else [EMPTY]
        for frame in frames:
            last = frame is frames[-1]
            # the code has not come to rest before the last of them
            self._outbox.send(frame, token=self.token, seen=self._execution.seen, running=running if last else max(1, running))
        self._hosting.metrics.advances.inc(len(frames))
        self._must_answer = False
        self._reported = running
        self._cancel_announce()
        self._owner.working(self)

    def _stored(self) -> None:
        """The last advance is in JetStream: what builds on it may begin."""
        self._owner.guarded(self, self._flush)

    async def _upload(self, items: Sequence[AnyItem]) -> None:
        """Store the large values among the items, however long that takes, then send them all."""
        while True:
            try:
                parts = await check_in(items, self._hosting.payloads)
                break
            except TransientError as error:
                _log.warning("cannot store a large value, trying again", run_id=self.run_id, error=str(error))
        self._uploading = None
        self._send(parts)

    def _announce_running(self) -> None:
        """A local effect takes long: say so, once."""
        self._announce = None
        if self._effects.in_flight and self._outbox is not None and not self._outbox.storing and (self._must_answer or not self._reported):
            self._send(())

    def _cancel_announce(self) -> None:
        if self._announce is not None:
            self._announce.cancel()
            self._announce = None

    # -- rest

    def _rest(self) -> None:
        """Quiescent, and everything is stored: the activations are answered."""
        self._acknowledge()
        self._owner.resting(self)
        self._retire()

    def _acknowledge(self) -> None:
        if not self.held:
            return
        faults.point("worker.ack.before")
        for delivery in self.held:
            delivery.ack()
        self.held.clear()
        faults.point("worker.ack.after")

    def _dismiss(self) -> None:
        """There is nothing more to do for the run here."""
        self._acknowledge()
        self._owner.gone(self)

    def _retire(self) -> None:
        """Forget a run that will not be fed again soon, once all it did is confirmed."""
        execution = self._execution
        if execution is not None and self.idle and not self._inbox and (execution.finished or execution.diverged or self._paused):
            self._owner.gone(self)

    def _let_go(self) -> None:
        """Drop the coroutine and everything that belongs to it; what is held stays held."""
        self._effects.drop()
        self._cancel_announce()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._uploading is not None:
            self._uploading.cancel()
            self._uploading = None
        if self._outbox is not None:
            self._outbox.close()
        if self._execution is not None:
            self._execution.close()
        self._execution = self._outbox = None
        self._must_answer = self._checked = False
        self._reported = 0


def _rank(token: Token) -> tuple[int, int]:
    return token.epoch, token.counter
