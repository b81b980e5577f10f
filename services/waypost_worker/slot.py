"""One run on this worker: an actor that serialises everything that happens to it.

It holds the activations that are not answered yet, keeps the session (the coroutine) in memory while it waits, reads the journal where
there is no session or it is not the run's any more, and lets go when the run is over, somebody else has taken it further, or the owner
needs the room. Each thing that can happen is one synchronous method, called from the event loop; whatever takes time is a task that
calls back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog

from waypost import Agent
from waypost_io import faults
from waypost_io.bus.ports import Delivery
from waypost_proto.errors import NotFound, PermanentError
from waypost_proto.events import OUTSIDE
from waypost_proto.ids import RunId
from waypost_proto.values import TERMINAL, Token
from waypost_proto.work import Activation, Stop
from waypost_worker.hosting import Hosting, SlotOwner
from waypost_worker.journal import Journal, may_refer
from waypost_worker.session import Session

_log = structlog.get_logger(__name__)
_NO_TOKEN = Token(epoch=-1, counter=-1)


class RunSlot:
    """See the module. `owner` is told when the run begins to work, comes to rest, and is to be forgotten."""

    def __init__(self, run_id: RunId, agent: Agent[..., Any], hosting: Hosting, owner: SlotOwner) -> None:
        self.run_id = run_id
        self.token = _NO_TOKEN
        """The newest that was seen."""
        self.sender = ""
        """The coordinator that it came from."""
        self.paused = False
        """No local effect may start."""
        self.held: list[Delivery] = []
        self.held_since = 0.0
        self._agent = agent
        self._hosting = hosting
        self._owner = owner
        self._session: Session | None = None
        self._inbox: deque[tuple[Activation, bool]] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._closed = False
        self._ours = False
        """The log says that this worker has the run: when we go, the coordinator gives it to another one by itself."""

    # -- what the owner asks

    @property
    def agent(self) -> str:
        """The agent's name."""
        return self._agent.name

    @property
    def idle(self) -> bool:
        """Nothing is held, runs, or waits for a confirmation: the coroutine can be dropped and brought back from the journal."""
        working = self._session is not None and self._session.working
        return not (self.held or working or self._reading or self._inbox or self.unconfirmed)

    @property
    def unconfirmed(self) -> int:
        """Advances that nobody has confirmed."""
        return self._session.outbox.unconfirmed if self._session is not None else 0

    # -- what happens

    def activate(self, delivery: Delivery, activation: Activation, *, fresh: bool) -> None:
        """An activation was delivered. Idempotent: entries the code has seen are skipped, a repeat is answered harmlessly.

        `fresh`: it begins the run, and nobody else can have begun it. Of no other beginning is that sure, whatever it says.
        """
        if not self.held:
            self.held_since = self._owner.time()
        self.held.append(delivery)
        self._inbox.append((activation, fresh))
        self._take_inbox()

    def confirm(self, digest: str, *, told: bool = True) -> None:
        """The coordinator committed the advance that led to this digest; `told`: it told this very worker."""
        session = self._session
        if session is not None and session.outbox.confirm(digest):
            session.checked = True
            self._ours = self._ours or told
            if not session.outbox.unconfirmed:
                self._owner.confirmed(self)
                self._retire()

    def reject(self, base: str, reason: str) -> None:
        """The coordinator's journal is another one: let go; it sends a new activation where one is needed."""
        if self._session is None or not self._session.outbox.is_refused(base):
            return
        _log.info("the coordinator has another journal, letting the run go", run_id=self.run_id, agent=self.agent, reason=reason)
        self._hosting.metrics.rejected.inc()
        self._dismiss()

    def stop(self, notice: Stop) -> None:
        """The run ended, is paused (what runs is finished and reported), or no longer wants one of its calls."""
        match notice.why:
            case "ended":
                self._dismiss()
            case "paused":
                self.paused = True
                if self._session is not None:
                    self._session.flush_soon()
            case "cancelled_call":
                if self._session is not None and notice.call_id is not None:
                    self._session.cancel_effect(notice.call_id)

    def republish(self, now: float, *, all_now: bool = False) -> int:
        """Publish again what is due; the number of advances."""
        return self._session.outbox.republish(now, all_now=all_now) if self._session is not None else 0

    def keep(self) -> None:
        """Tell JetStream that the held activations are being worked on."""
        for delivery in self.held:
            delivery.in_progress()

    def hand_over(self) -> None:
        """The worker leaves: let go of the run so that nobody waits for it. What it had begun is begun again elsewhere.

        Its coordinator sends another activation as soon as it hears that we are gone; one more from here might go to a third worker. Of a
        run that has recorded nothing here it does not know that, so its activation goes back.
        """
        held = list(self.held)
        self._owner.gone(self)
        for delivery in held:
            if self._ours:
                delivery.ack()
            else:
                delivery.give_back()

    def close(self) -> None:
        """Forget everything, telling nobody. Held activations are delivered again. Idempotent."""
        self._closed = True
        self.held.clear()
        self._inbox.clear()
        if self._reading is not None and self._reading is not asyncio.current_task():
            self._reading.cancel()
        self._reading = None
        self._let_go()

    # -- activations

    def _take_inbox(self) -> None:
        while self._inbox and self._reading is None and not self._closed:
            self._take(*self._inbox.popleft())

    def _take(self, activation: Activation, fresh: bool) -> None:
        newer = _rank(activation.token) > _rank(self.token)
        if newer:
            if self._session is not None and not self._session.outbox.knows(activation.base):
                _log.info("the journal has gone on without this worker, reading it again", run_id=self.run_id, agent=self.agent)
                self._let_go()
            self.token = activation.token
            self.sender = activation.sender
            self.paused = False
        session = self._session
        if session is None:
            if activation.base or activation.seen or activation.fetch or (self._agent.runs_beside and not fresh):
                self._hosting.metrics.misses.inc()
                self._read(activation, journal=True)
                return
            session = self._begin(activation, "")
            session.checked = fresh
        else:
            self._hosting.metrics.hits.inc()
            if newer:
                self.confirm(activation.base, told=False)
                session.catch_up(activation)
        if activation.fetch or activation.seen > session.seen:
            self._read(activation, journal=True)
        elif may_refer(activation.entries):
            self._read(activation, journal=False)
        else:
            session.feed(activation.entries, None)

    def _begin(self, activation: Activation, digest: str) -> Session:
        self._session = Session(self._agent, activation, digest, self._hosting, self)
        return self._session

    # -- reading

    def _read(self, activation: Activation, *, journal: bool) -> None:
        """Fetch the journal (all of it, or what follows what the code has seen) or only the large values, then feed."""
        self._reading = self._owner.spawn(self._read_and_feed(activation, journal), self)

    async def _read_and_feed(self, activation: Activation, journal: bool) -> None:
        structlog.contextvars.bind_contextvars(run_id=self.run_id, agent=self.agent)  # of this task: for what the reader logs
        reader, session = self._hosting.reader, self._session
        read: Journal | None = None
        if journal:
            try:
                read = await reader.read(self.run_id, session.seen if session is not None and session.checked else 0)
            except NotFound:
                _log.warning("an activation of a run that nobody knows", run_id=self.run_id, agent=self.agent)
                self._dismiss()
                return
        try:
            values = await reader.values_of([*(read.entries if read else ()), *activation.entries])
        except PermanentError as error:  # unacknowledged it is tried again, and can be seen
            _log.error("cannot read a value that the run needs", run_id=self.run_id, agent=self.agent, error=str(error))
            self._owner.gone(self)
            return
        self._reading = None
        self._feed_read(activation, read, values)
        self._take_inbox()

    def _feed_read(self, activation: Activation, read: Journal | None, values: Mapping[str, bytes]) -> None:
        session = self._session
        if read is None:
            assert session is not None
            session.feed(activation.entries, values)
            return
        if read.status in TERMINAL:
            self._dismiss()
            return
        if session is not None and not session.outbox.knows(read.digest):
            self._let_go()
            if session.checked:  # only the end of the journal was read
                self._read(activation, journal=True)
                return
            session = None
        if session is None:
            self.paused = read.status == "paused"
            session = self._begin(activation, read.digest)
            session.replay(read, values)
        session.checked = True
        session.feed([*(entry for entry in read.entries if entry.type in OUTSIDE), *activation.entries], values)

    # -- what the session tells (`Holder`)

    def spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        return self._owner.spawn(work, self)

    def guarded(self, call: Callable[[], None]) -> None:
        self._owner.guarded(self, call)

    def sent(self) -> None:
        self._owner.working(self)

    def wants_check(self) -> None:
        """Make sure that nobody else has begun this run.

        The first activation says that there is no journal. It may be a repeat: its worker died, or its publish was repeated after
        a restart of the server. Commands are fenced by the digest, but a step that is recorded must not run again (P3).
        """
        if self._reading is None:
            assert self._session is not None
            self._read(self._session.begin, journal=True)

    def rested(self) -> None:
        """The activations are answered, unless one is still being read."""
        if self._reading is None and not self._inbox:
            self._acknowledge()
            self._owner.resting(self)
            self._retire()

    # -- letting go

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
        if self._session is not None and self.idle and (self._session.over or self.paused):
            self._owner.gone(self)

    def _let_go(self) -> None:
        """Drop the coroutine and everything that belongs to it; what is held stays held."""
        if self._session is not None:
            self._session.close()
            self._session = None


def _rank(token: Token) -> tuple[int, int]:
    return token.epoch, token.counter
