"""After the commit: tell those who wait, publish what follows, and ack when JetStream has it.

Publishes of a batch are queued at once and in order, and confirmed later; batches settle in order, so that the published position is a
contiguous prefix (CORRECTNESS.md row 12). What goes to one stream is published as a group with one confirmation; when that fails, its
messages are repeated one by one under the same ids, each until it is confirmed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial

import msgspec
import structlog

from waypost_coordinator.batch import Batch, Outgoing, Sending
from waypost_coordinator.framing import framed
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter
from waypost_coordinator.timers import Timers
from waypost_core.messages import PermitsRevoked, PermitState
from waypost_core.state import RunState
from waypost_io import faults
from waypost_io.bus.ports import GROUP_MOST, PubAck
from waypost_io.store.ports import CommitResult, EventRow
from waypost_proto.codec import decode, encode
from waypost_proto.errors import PublishTimeout, TooLarge, WaypostError
from waypost_proto.events import ApprovalEdited, Event, ToolCallRequested
from waypost_proto.ids import CallId, RunId, traceparent
from waypost_proto.task import format_time
from waypost_proto.tools import ToolCall
from waypost_proto.work import Confirm

log = structlog.get_logger(__name__)

IN_FLIGHT_BATCHES = 64
"""Committed batches whose publishes are not confirmed yet; at the bound commits wait, and so does everybody before them."""
AGAIN_SECONDS = 0.5
EVENTS_AT_ONCE = 500
"""Events that are published before somebody else has a turn: a fork's first commit has thousands."""


@dataclass(slots=True)
class _Settling:
    batch: Batch
    sendings: list[Sending]
    follow_ups: list[tuple[int, asyncio.Future[bool]]] = field(default_factory=list)
    """Partition, and whether the follow-up was committed (True) or given up with its partition (False)."""
    events_sent: int = 0
    """Of its events, in their order."""


class Settler:
    """`after` is the pipeline's next stage; run `run()` in a task. `published` is updated as batches settle."""

    def __init__(self, ground: Ground, timers: Timers) -> None:
        self._ground = ground
        self._timers = timers
        self.settled = 0
        """Batches so far."""
        self._queue: asyncio.Queue[_Settling] = asyncio.Queue(IN_FLIGHT_BATCHES)
        self._unsent: deque[_Settling] = deque()
        """Those whose events are not all published yet."""
        self._sends_soon = False

    def before(self, batch: Batch) -> None:
        """The batch is decided: what need not wait for its commit goes out now (DESIGN.md, levers for speed)."""
        batch.connection = self._ground.lately.connection
        early = [outgoing for outgoing in batch.outgoing if outgoing.early]
        if early:
            batch.sent = self._publish_all(early)
            self._ground.bus.push()  # the commit is prepared in this very turn of the loop, and takes longer than all of this

    async def after(self, batch: Batch, result: CommitResult) -> None:
        """The batch is committed. Waits only when too many batches are unconfirmed."""
        for letter, reply in batch.replies:
            if letter.answer is not None:
                letter.answer(reply)
        for letter in batch.letters:
            if letter.committed is not None:
                letter.committed()
        self._tell_workers(batch)
        for key, timer in batch.rows.timers.items():
            if timer is None:
                self._timers.clear(key)
            else:
                self._timers.set(timer)
        faults.point("coordinator.publish.before")
        for call in batch.hydrate:
            batch.outgoing.append(await self._hydrated(*call))
        left = batch.outgoing if not batch.sent else [outgoing for outgoing in batch.outgoing if not outgoing.early]
        settling = _Settling(batch, [*batch.sent, *self._publish_all(left)])
        self._ground.bus.push()
        self._unsent.append(settling)
        self._send_events_soon()  # after the next commit has begun: nobody's next step needs them
        settling.follow_ups = self._follow_up(batch, result)
        for letter in batch.local_mail:
            self._ground.box.put(letter)
        await self._queue.put(settling)

    async def run(self) -> None:
        """Settle batches in order, until cancelled."""
        while True:
            settling = await self._queue.get()
            while settling.events_sent < len(settling.batch.rows.events):  # a turn or two, where they are thousands
                if not self._sends_soon:  # what had been planned met an error: it is met here, and ends this process
                    self._send_events()
                await asyncio.sleep(0)
            for sending in settling.sendings:
                await self._settled(sending)
            self._ground.lately.settled(settling.batch)
            faults.point("coordinator.publish.after")
            # a follow-up that was given up is derived again by the take-over, which starts at the published position
            gone = {partition for partition, told in settling.follow_ups if not await told}
            self._ground.metrics.published(sum(len(sending.messages) for sending in settling.sendings))
            faults.point("coordinator.ack.before")
            for letter in settling.batch.letters:
                if letter.done is not None and letter.partition not in gone:
                    letter.done()
            for partition, position in settling.batch.positions.items():
                if partition in self._ground.published and partition not in gone and partition not in settling.batch.deriving:
                    self._ground.published[partition] = max(self._ground.published[partition], position)
            faults.point("coordinator.ack.after")
            self.settled += 1
            self._queue.task_done()

    def _send_events_soon(self) -> None:
        if not self._sends_soon:
            self._sends_soon = True
            asyncio.get_running_loop().call_soon(self._send_events)

    def _send_events(self) -> None:
        """Publish events, each once, in the order of the batches: a fork's own events come after those that it has copied."""
        self._sends_soon = False
        most = EVENTS_AT_ONCE
        while self._unsent and most > 0:
            settling = self._unsent[0]
            rows, sent = settling.batch.rows.events, settling.events_sent
            settling.sendings.extend(self.publish_events(rows if len(rows) <= most and not sent else rows[sent : sent + most]))
            settling.events_sent = min(len(rows), sent + most)
            most -= settling.events_sent - sent
            if settling.events_sent == len(rows):
                self._unsent.popleft()
        if self._unsent:
            self._send_events_soon()

    async def idle(self) -> None:
        """Wait until every batch is settled."""
        await self._queue.join()

    def publish_events(self, rows: Sequence[EventRow]) -> list[Sending]:
        """Events in the order of their rows. Publishing them again, at a take-over, keeps the ids that they had."""
        prefix, subjects = self._ground.subjects.prefix, self._ground.subjects
        messages = []
        for row in rows:
            agent = self._agent_of(row)
            subject = subjects.event(agent, row.run_id, row.type)
            msg_id = f"{row.run_id}.{row.seq}"
            messages.append(Outgoing(subject, row.body, msg_id, None, _cloud_event(prefix, agent, msg_id, row), "events"))
        return self._publish_all(messages)

    async def settle_now(self, sendings: list[Sending]) -> None:
        """Wait until JetStream has them all."""
        for sending in sendings:
            await self._settled(sending)

    def _publish_all(self, outgoing: Sequence[Outgoing]) -> list[Sending]:
        """Queue all of them now: those of one queue together, in their order, the rest one by one."""
        queues: dict[str, list[Outgoing]] = {}
        sendings = []
        for each in outgoing:
            if each.queue:
                queues.setdefault(each.queue, []).append(each)
            else:
                sendings.append(Sending((each,), self._publish(each)))
        for queue, messages in queues.items():
            sent = framed(messages) if queue == "work" else messages
            for start in range(0, len(sent), GROUP_MOST):
                group = sent[start : start + GROUP_MOST]
                sendings.append(Sending(group, self._ground.bus.publish_group(group)))
        return sendings

    def _publish(self, outgoing: Outgoing) -> Awaitable[PubAck]:
        return self._ground.bus.publish_group((outgoing,))

    def _agent_of(self, row: EventRow) -> str:
        live = self._ground.runs.get(row.run_id)
        return live.state.agent if live is not None else decode(Event, row.body).agent

    async def _settled(self, sending: Sending) -> None:
        """Wait until the server has all of it. After a failure each message is on its own: one that cannot be stored holds up no other."""
        try:
            self._note(await sending.confirmation)
        except WaypostError as error:
            if len(sending.messages) > 1:
                log.warning("group_repeated", messages=len(sending.messages), subject=sending.messages[0].subject, error=str(error))
                again = [(outgoing, self._publish(outgoing)) for outgoing in sending.messages]
                for outgoing, confirmation in again:
                    await self._confirmed(outgoing, confirmation)
            else:
                await self._confirmed(sending.messages[0], sending.confirmation)

    async def _confirmed(self, outgoing: Outgoing, confirmation: Awaitable[PubAck]) -> None:
        """Repeat until the server has it: under the same id it is stored once (within the window), and derived work tolerates twice.

        Once without a pause: of all that failed while the server was away, each is waited for only when it is its turn, and a pause
        for each would hold everything up for a minute after it is back.
        """
        pause_seconds = 0.0
        while True:
            try:
                ack = await confirmation
            except TooLarge:
                log.exception("dispatch_too_large", subject=outgoing.subject)  # in the log it is whole
                return
            except WaypostError as error:
                if not isinstance(error, PublishTimeout):
                    self._ground.look()
                log.warning("publish_repeated", subject=outgoing.subject, error=str(error))
                if pause_seconds:
                    await asyncio.sleep(pause_seconds)
                pause_seconds = AGAIN_SECONDS
                confirmation = self._publish(outgoing)
            else:
                self._note(ack)
                return

    def _note(self, ack: PubAck) -> None:
        if ack.seq > self._ground.stored.get(ack.stream, 0):
            self._ground.stored[ack.stream] = ack.seq

    def _tell_workers(self, batch: Batch) -> None:
        for worker in batch.accepted.keys() | batch.rejected.keys():
            confirm = Confirm(
                accepted=batch.accepted.get(worker, []),
                rejected=batch.rejected.get(worker, []),
                now=round(self._ground.clock.now(), 6),
            )
            self._ground.bus.send(self._ground.subjects.confirm(worker), encode(confirm))
        for stop in batch.stops:
            self._ground.bus.send(self._ground.subjects.stop(), encode(stop))

    def _follow_up(self, batch: Batch, result: CommitResult) -> list[tuple[int, asyncio.Future[bool]]]:
        """Tell each run what its revocation found. A permit that was never written counts as revoked: it cannot be used."""
        found: dict[RunId, dict[CallId, PermitState]] = {}
        for row in result.revoked:
            found.setdefault(row.run_id, {})[row.call_id] = PermitState(row.call_id, row.attempt, row.state)
        loop = asyncio.get_running_loop()
        waiting = []
        for run_id in batch.rows.revoke_runs | {run_id for run_id, _ in batch.rows.revoke_calls}:
            partition = self._ground.partition(run_id)
            told: asyncio.Future[bool] = loop.create_future()
            live = self._ground.runs.get(run_id)
            if live is None:  # its partition was lost in the meantime
                told.set_result(False)
                waiting.append((partition, told))
                continue
            permits = self._permits(batch, live.state, found.get(run_id, {}))
            if permits:
                letter = Letter(mail=PermitsRevoked(permits), run_id=run_id, partition=partition)
                letter.committed, letter.dropped = partial(_tell, told, True), partial(_tell, told, False)
                self._ground.box.put(letter)
                waiting.append((partition, told))
        return waiting

    @staticmethod
    def _permits(batch: Batch, state: RunState, found: dict[CallId, PermitState]) -> tuple[PermitState, ...]:
        """What the revocation says of each call that it asked about. Nothing of a run that has ended."""
        if state.terminal:
            return ()
        permits = dict(found)
        for call_id, call in state.calls.items():
            asked = state.run_id in batch.rows.revoke_runs or (state.run_id, call_id) in batch.rows.revoke_calls
            if asked and call.binding and call.kind == "tool" and call.stage == "sent" and call_id not in permits:
                permits[call_id] = PermitState(call_id, call.attempt, "revoked")
        return tuple(permits.values())

    async def _hydrated(self, call: ToolCall, seq: int, msg_id: str, block: bytes) -> Outgoing:
        """A tool call whose arguments are too large for the state: read them from the event that has them: the request, or an edit."""
        rows = await self._ground.store.log.load_events(call.run_id, after=seq - 1, limit=1)
        event = decode(Event, rows[0].body)
        if event.type == "approval_edited":
            whole = msgspec.structs.replace(call, args=decode(ApprovalEdited, event.data).args)
        else:
            data = decode(ToolCallRequested, event.data)
            whole = msgspec.structs.replace(call, args=data.args, args_ref=data.args_ref)
        return Outgoing(self._ground.subjects.tool(call.tool), encode(whole), msg_id, None, block, "tools")


def _tell(told: asyncio.Future[bool], committed: bool) -> None:
    if not told.done():
        told.set_result(committed)


_time_of = lru_cache(maxsize=64)(format_time)
"""The events of a batch share their moment."""


def _cloud_event(prefix: str, agent: str, msg_id: str, row: EventRow) -> bytes:
    """CloudEvents 1.0, binary mode (NATS protocol binding), and the W3C trace context of the event's span. All of it are names and ids."""
    return (
        f"ce-specversion: 1.0\r\nce-id: {msg_id}\r\nce-source: /{prefix}/{agent}\r\nce-type: {prefix}.{row.type}\r\n"
        f"ce-subject: {row.run_id}\r\nce-time: {_time_of(row.recorded_at)}\r\nce-datacontenttype: application/json\r\n"
        f"traceparent: {traceparent(row.run_id, row.seq)}\r\n"
    ).encode()
