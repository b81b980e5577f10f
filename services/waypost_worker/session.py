"""A run's coroutine on this worker with everything that belongs to it: what it asked for, what runs for it, what it told the coordinator.

After everything that happens, `flush` decides what comes next, in this order:

    1. an advance is not in JetStream yet      wait: its confirmation flushes again
    2. there are new items                     one advance with all of them; nothing that builds on them begins before it is stored
    3. local effects are wanted                start them, once the run's journal is known to be ours
    4. the activation is not answered          an empty advance says that it was read
    5. nothing runs                            the run has come to rest

Code that runs beside (a graph's nodes) counts like a local effect; `Beginning.changed` flushes when it has something new.

So a step's result and the tool call that it led to are one advance, and a step's result is in JetStream before the next step begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

import structlog
from msgspec import structs

from waypost import Agent
from waypost.execution import Beginning, EffectResult
from waypost.step_scope import StepScope
from waypost_io import faults
from waypost_proto.commands import AnyItem
from waypost_proto.errors import TransientError
from waypost_proto.ids import CallId, RunId
from waypost_proto.values import Token
from waypost_proto.work import Activation, Entry
from waypost_worker.frames import EMPTY, check_in, frames_of, has_large, parts_of
from waypost_worker.graph_stream import GraphStream
from waypost_worker.hosting import Hosting
from waypost_worker.journal import Journal
from waypost_worker.outbox import Outbox, Sender
from waypost_worker.run_effects import RunEffects

_log = structlog.get_logger(__name__)


class Holder(Protocol):
    """The slot, as its session sees it."""

    run_id: RunId
    token: Token
    sender: str
    paused: bool

    @property
    def agent(self) -> str:
        """The agent's name."""
        ...

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]: ...
    def guarded(self, call: Callable[[], None]) -> None: ...
    def sent(self) -> None:
        """Something waits for confirmation."""
        ...

    def wants_check(self) -> None:
        """Local effects wait until somebody has looked whether the journal is ours: set `checked`, or close the session."""
        ...

    def rested(self) -> None:
        """Nothing runs, and everything is in JetStream."""
        ...


class Session:
    """From the activation or journal it began with until `close`. All methods are called from the event loop, none of them waits."""

    def __init__(self, agent: Agent[..., Any], begin: Activation, digest: str, hosting: Hosting, holder: Holder) -> None:
        self.begin = structs.replace(begin, entries=[])
        """What it began with, without what may be large."""
        self.checked = False
        """The run's journal is known to be ours; until then no local effect starts."""
        self._hosting = hosting
        self._holder = holder
        self._loop = asyncio.get_running_loop()
        self._effects = RunEffects(
            hosting.effects, hosting.run_clock, self._effect_done, self._scope, run_id=begin.run_id, agent=begin.agent
        )
        sender = Sender(
            run_id=begin.run_id,
            agent=begin.agent,
            worker=hosting.worker,
            build=hosting.build,
            subject=hosting.subjects.mail("advance", begin.agent, begin.run_id),
        )
        self.outbox = Outbox(sender, hosting.bus, hosting.tuning, self._stored, base=digest)
        self._execution = agent.execution(
            Beginning(
                run_id=begin.run_id,
                correlation_id=begin.correlation_id,
                tenant=begin.tenant,
                steps_left=begin.steps_left,
                start_effect=self._effects.want,
                changed=self.flush_soon,
                graph_shown=lambda: GraphStream(hosting.streams, begin.run_id, begin.agent, lambda: holder.token),
            )
        )
        self._execution.metered(begin.metered, begin.unfunded)
        self._limits = self.begin
        """The activation that last said how the run is limited, without what may be large."""
        self._must_answer = False
        self._reported = 0
        """Effects in flight as the last advance said."""
        self._uploading: asyncio.Task[None] | None = None
        self._announce: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Handle | None = None
        self._closed = False

    # -- state

    @property
    def seen(self) -> int:
        """Seq of the last outside event that the code was given."""
        return self._execution.seen

    @property
    def working(self) -> bool:
        """Local effects are in flight, or code runs beside that waits for nothing an activation would bring."""
        return self._effects.in_flight > 0 or self._beside > 0

    @property
    def _beside(self) -> int:
        """What runs and is no effect: the code of an agent that is not run slice by slice (a graph's nodes)."""
        return max(0, self._execution.running - self._effects.in_flight - self._effects.wanted)

    @property
    def over(self) -> bool:
        """The code returned, raised, or cannot be replayed: it takes nothing more."""
        return self._execution.finished or self._execution.diverged

    # -- what happens

    def replay(self, journal: Journal, values: Mapping[str, bytes]) -> None:
        """Bring the code to where the journal ends; first of all, and once."""
        self._execution.replay(journal.entries, journal.seen, values)

    def catch_up(self, activation: Activation) -> None:
        """A new activation's allowance, if it counts everything that we have sent."""
        if activation.base == self.outbox.tip and self._uploading is None:
            self._limits = structs.replace(activation, entries=[])
            self._execution.metered(activation.metered, activation.unfunded)
            self._execution.grant(activation.steps_left)

    def feed(self, entries: Sequence[Entry], values: Mapping[str, bytes] | None) -> None:
        """Give the code what it has not seen of these; it will be answered."""
        self._execution.feed(entries, values)
        self._must_answer = True
        faults.point("worker.activation.after")
        self.flush()

    def cancel_effect(self, call_id: CallId) -> None:
        """One local effect is not wanted any more; its result says that it was cancelled."""
        self._effects.cancel(call_id)

    def flush_soon(self) -> None:
        """Flush in this turn of the event loop, once for everything that happens in it."""
        if self._flushing is None and not self._closed:
            self._flushing = self._loop.call_soon(self._holder.guarded, self.flush)

    def close(self) -> None:
        """Drop the coroutine, its effects, and what was not confirmed, telling nobody. Idempotent."""
        self._closed = True
        self._effects.drop()
        self._cancel_announce()
        if self._flushing is not None:
            self._flushing.cancel()
        if self._uploading is not None:
            self._uploading.cancel()
        self.outbox.close()
        self._execution.close()

    def _scope(self, call_id: CallId) -> StepScope:
        begin, limits = self.begin, self._limits
        show = self._hosting.streams.opener(begin.run_id, call_id, begin.agent, lambda: self._holder.token)
        return StepScope(
            run_id=begin.run_id,
            call_id=call_id,
            agent=begin.agent,
            metered=limits.metered,
            cost_limited=limits.cost_limited,
            show=show,
        )

    def _effect_done(self, result: EffectResult) -> None:
        if not self._closed:
            self._execution.finish_effect(result)
            self.flush_soon()  # others may end in the same turn of the event loop: one advance for all

    def _stored(self) -> None:
        """The last advance is in JetStream: what builds on it may begin."""
        self._holder.guarded(self.flush)

    # -- what comes next

    def flush(self) -> None:
        """See the module. Idempotent: with nothing new it changes nothing."""
        self._flushing = None
        if self._closed or self._uploading is not None or self.outbox.storing:
            return
        items = self._execution.take_items()
        if items:
            self._report(items)
        elif self._effects.wanted and not self._holder.paused and not self.checked:
            self._holder.wants_check()
        else:
            self._go_on()

    def _report(self, items: Sequence[AnyItem]) -> None:
        parts = parts_of(items)
        if has_large(parts):
            self._uploading = self._holder.spawn(self._upload(items))
        else:
            self._send(parts)

    def _go_on(self) -> None:
        started = not self._holder.paused and self._effects.start()
        if self._flushing is not None:
            return  # an effect was over before it began
        if self._execution.diverged:  # that is the answer, and nothing follows from it: an empty one would make the run this build's
            self._must_answer = False
        over = self._reported > 0 and not (self.working or self._effects.wanted or self._execution.diverged)  # given up, without a result
        soon = started or self._beside > 0 or self._announce is not None
        if over or (self._must_answer and not (self.working and soon)):
            self._send(())
        elif not self.working:
            self._holder.rested()
        elif self._announce is None and (self._must_answer or not self._reported):
            seconds = self._hosting.tuning.announce_running_seconds
            self._announce = self._loop.call_later(seconds, self._holder.guarded, self._announce_running)

    def _send(self, parts: Sequence[bytes]) -> None:
        """One advance with these items, or as many as their size needs; without items an empty one."""
        # wanted ones count while the run is paused too: they are why it needs an activation once it is resumed
        running = self._effects.in_flight + self._effects.wanted + self._beside
        frames = list(frames_of(parts)) if parts else [EMPTY]
        for frame in frames:
            # before the last of them the code has not come to rest
            in_flight = running if frame is frames[-1] else max(1, running)
            self.outbox.send(frame, token=self._holder.token, seen=self._execution.seen, running=in_flight, answers=self._holder.sender)
        self._hosting.metrics.advances.inc(len(frames))
        self._must_answer = False
        self._reported = running
        self._cancel_announce()
        self._holder.sent()

    async def _upload(self, items: Sequence[AnyItem]) -> None:
        """Store the large values among the items, however long that takes, then send them all."""
        while True:
            try:
                parts = await check_in(items, self._hosting.payloads)
                break
            except TransientError as error:
                _log.warning(
                    "cannot store a large value, trying again", run_id=self._holder.run_id, agent=self._holder.agent, error=str(error)
                )
        self._uploading = None
        self._send(parts)

    def _announce_running(self) -> None:
        """A local effect takes long: say so, once."""
        self._announce = None
        if self.working and not self.outbox.storing and (self._must_answer or not self._reported):
            self._send(())

    def _cancel_announce(self) -> None:
        if self._announce is not None:
            self._announce.cancel()
            self._announce = None
