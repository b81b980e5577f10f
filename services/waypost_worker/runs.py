"""The runs on this worker: finds or makes the slot of each, bounds how many work and how many wait in memory, supervises them.

Owns the slots. A slot that fails by an error of our own is let go without an acknowledgement: the activation comes again, here or
elsewhere, and no other run notices.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from itertools import islice
from typing import Any

import structlog

from waypost import Agent
from waypost_io import faults
from waypost_io.bus.ports import Delivery
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage
from waypost_proto.ids import RunId
from waypost_proto.registry import Held
from waypost_proto.work import Activation, Confirm, Stop
from waypost_worker.frame_parts import parts_of
from waypost_worker.hosting import Hosting
from waypost_worker.slot import RunSlot
from waypost_worker.suspects import Suspects

_EVICTIONS_AT_ONCE = 4
"""Looks at the oldest waiting runs each time one comes to rest: more than come to rest, so the bound holds."""
_HELD_SHOWN = 2_000
"""Activations listed in one heartbeat: what fits into a message with ease."""
_BUSY_SECONDS = 1.0
"""The time over which the runs at work are counted."""
_log = structlog.get_logger(__name__)


class Runs:
    """Its tasks live in `tasks`; `close` cancels them."""

    def __init__(self, agents: Mapping[str, Agent[..., Any]], hosting: Hosting, tasks: asyncio.TaskGroup) -> None:
        self._agents = agents
        self._hosting = hosting
        self._tuning = hosting.tuning
        self._tasks = tasks
        self._beside: set[asyncio.Task[None]] = set()
        self._slots: dict[RunId, RunSlot] = {}
        self._active: dict[RunId, RunSlot] = {}
        self._unconfirmed: dict[RunId, RunSlot] = {}
        self._resting: OrderedDict[RunId, RunSlot] = OrderedDict()
        self._has_room = asyncio.Event()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._suspects = Suspects(hosting.tuning)
        self._worked_on: set[RunId] = set()
        self.time = asyncio.get_running_loop().time
        self._counting_since = self.time()
        self._busy_before = 0
        metrics = hosting.metrics
        metrics.concurrency.set(self._tuning.concurrency)
        metrics.effects.follow(lambda: float(hosting.effects.running))
        metrics.active.follow(lambda: float(len(self._active)))
        metrics.cached.follow(lambda: float(len(self._slots)))

    # -- state

    @property
    def active(self) -> int:
        """Runs that hold an activation."""
        return len(self._active)

    @property
    def cached(self) -> int:
        """Runs in memory, active or waiting."""
        return len(self._slots)

    async def room(self) -> int:
        """Wait until more runs may work; how many."""
        while len(self._active) >= self._tuning.concurrency:
            self._has_room.clear()
            await self._has_room.wait()
        return self._tuning.concurrency - len(self._active)

    async def quiet(self) -> None:
        """Wait until no run is active and everything sent is confirmed."""
        await self._quiet.wait()

    def busy(self) -> int:
        """Runs that were worked on in the last second or so."""
        now = self.time()
        if now - self._counting_since >= _BUSY_SECONDS:
            self._busy_before = len(self._worked_on)
            self._worked_on = set(self._active)
            self._counting_since = now
        return max(self._busy_before, len(self._worked_on))

    def held(self) -> list[Held]:
        """Activations held for longer than a heartbeat."""
        before = self.time() - self._tuning.held_seconds
        held = (Held(run_id=slot.run_id, token=slot.token) for slot in self._active.values() if slot.held_since < before)
        return list(islice(held, _HELD_SHOWN))

    # -- what arrives

    def activate(self, delivery: Delivery) -> None:
        """Handle one delivered message of activations. Never raises; idempotent by (token, base, seq of the entries)."""
        faults.point("worker.activation.before")
        try:
            parts = parts_of(delivery)
        except BadMessage as error:
            _log.error("not an activation that this version understands", subject=delivery.subject, error=str(error))
            return
        for part in parts:
            self._activation(part)

    def _activation(self, delivery: Delivery) -> None:
        self._hosting.metrics.activations.inc()
        try:
            activation = decode(Activation, delivery.body)
            self._hosting.run_clock.learn(activation.now)
        except BadMessage as error:
            _log.error("not an activation that this version understands", subject=delivery.subject, error=str(error))
            return
        if activation.agent not in self._agents:
            _log.error("an activation of an agent that is not hosted here", agent=activation.agent, run_id=activation.run_id)
            return
        deliveries = delivery.delivered
        if deliveries > 1:
            self._hosting.metrics.redelivered.inc()
            _log.warning("activation delivered again", run_id=activation.run_id, agent=activation.agent, delivered=deliveries)
            if deliveries > self._tuning.suspect_after and activation.run_id not in self._active:
                self._keep(self._tasks.create_task(self._suspects.take(delivery, activation, self._activate)))
                return
        self._activate(delivery, activation)

    def _activate(self, delivery: Delivery, activation: Activation) -> RunSlot:
        run_id = activation.run_id
        slot = self._slots.get(run_id)
        if slot is None:
            slot = self._slots[run_id] = RunSlot(run_id, self._agents[activation.agent], self._hosting, self)
        self._resting.pop(run_id, None)
        self._worked_on.add(run_id)
        self._active[run_id] = slot
        self._quiet.clear()
        try:
            slot.activate(delivery, activation, fresh=self._is_fresh(delivery, activation))
        except Exception:  # noqa: BLE001 - the supervisor of the slots
            self._failed(slot)
        return slot

    def confirm(self, message: Confirm) -> None:
        """What the coordinator committed, and what it refused. A run that is not here needs neither."""
        self._hosting.run_clock.learn(message.now)
        for accepted in message.accepted:
            slot = self._slots.get(accepted.run_id)
            if slot is not None:
                self.guarded(slot, lambda slot=slot, digest=accepted.digest: slot.confirm(digest))  # type: ignore[misc]
        for rejected in message.rejected:
            slot = self._slots.get(rejected.run_id)
            if slot is not None:
                self.guarded(slot, lambda slot=slot, it=rejected: slot.reject(it.base, it.reason))  # type: ignore[misc]

    def stop(self, notice: Stop) -> None:
        """Let go of a run, or of one of its calls."""
        slot = self._slots.get(notice.run_id)
        if slot is not None:
            self.guarded(slot, lambda: slot.stop(notice))

    # -- upkeep

    def keep(self) -> None:
        """Tell JetStream of everything in hand that it is being worked on."""
        for slot in self._active.values():
            slot.keep()
        self._suspects.keep()

    def republish(self, *, all_now: bool = False) -> int:
        """Publish again what nobody has confirmed: what is due, or everything."""
        now = self.time()
        count = sum(slot.republish(now, all_now=all_now) for slot in self._unconfirmed.values())
        self._hosting.metrics.republished.inc(count)
        return count

    def hand_over(self) -> None:
        """The worker leaves: what it could not finish goes to others at once. Nothing may be activated after it."""
        for slot in list(self._active.values()):
            slot.hand_over()
        self._suspects.hand_over()

    def close(self) -> None:
        """Let go of every run, telling nobody, and end what is done for them. Idempotent."""
        for slot in list(self._slots.values()):
            self.gone(slot)
        for task in self._beside:
            task.cancel()

    # -- what slots tell (`SlotOwner`)

    def spawn(self, work: Coroutine[object, object, None], slot: RunSlot) -> asyncio.Task[None]:
        return self._keep(self._tasks.create_task(self._supervised(work, slot)))

    def guarded(self, slot: RunSlot, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 - the supervisor of the slots
            self._failed(slot)

    def working(self, slot: RunSlot) -> None:
        if slot.unconfirmed:
            self._unconfirmed[slot.run_id] = slot
            self._quiet.clear()

    def confirmed(self, slot: RunSlot) -> None:
        self._unconfirmed.pop(slot.run_id, None)
        self._look_quiet()

    def resting(self, slot: RunSlot) -> None:
        if self._active.pop(slot.run_id, None) is not None:
            self._suspects.rested(slot)
        self._resting[slot.run_id] = slot
        self._resting.move_to_end(slot.run_id)
        if len(self._resting) > self._tuning.cache_runs:
            self._evict()
        self._has_room.set()
        self._look_quiet()

    def gone(self, slot: RunSlot) -> None:
        slot.close()
        self._suspects.rested(slot)
        if self._slots.get(slot.run_id) is slot:
            for index in (self._slots, self._active, self._unconfirmed, self._resting):
                index.pop(slot.run_id, None)
        self._has_room.set()
        self._look_quiet()

    # -- inside

    def _is_fresh(self, delivery: Delivery, activation: Activation) -> bool:
        """Whether it begins the run, was published as soon as the run was recorded, and waited too short for anybody to be replaced.

        What is older than the consumer that brings it may have come to somebody through the one before (a restart of the server forgets
        it, with its counts). Three clocks are compared (Postgres, NATS, ours); where they differ nothing is fresh, which costs a look at
        the journal.
        """
        if activation.base or activation.seen or not activation.entries or delivery.delivered > 1:
            return False
        stored_at = delivery.timestamp
        return (
            delivery.consumer_since < stored_at
            and abs(stored_at - activation.entries[0].at) < self._tuning.fresh_seconds
            and abs(self._hosting.clock() - stored_at) < self._tuning.fresh_wait_seconds
        )

    def _keep(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task

    async def _supervised(self, work: Coroutine[object, object, None], slot: RunSlot) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - the supervisor of the slots
            self._failed(slot)

    def _failed(self, slot: RunSlot) -> None:
        """The supervisor's last resort, called while an exception is handled."""
        _log.exception("letting a run go after an error", run_id=slot.run_id, agent=slot.agent)
        self._hosting.metrics.failures.inc()
        self.gone(slot)

    def _evict(self) -> None:
        for _ in range(_EVICTIONS_AT_ONCE):
            if len(self._resting) <= self._tuning.cache_runs:
                return
            slot = next(iter(self._resting.values()))
            if slot.idle:
                self.gone(slot)
            else:
                self._resting.move_to_end(slot.run_id)  # it waits for a confirmation, which frees it soon

    def _look_quiet(self) -> None:
        if not self._active and not self._unconfirmed and not self._suspects.waiting:
            self._quiet.set()
