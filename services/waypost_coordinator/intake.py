"""Intake: tasks from `waypost.tasks.>` become runs at once, worker or no worker.

The run id follows from the stored message (its time and sequence, and when its stream was made), so that a redelivered task is the same run
(CORRECTNESS.md row 8). A task that cannot be a run goes to the dead letters with its bytes, and intake goes on.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog
from msgspec import UNSET

from waypost_coordinator.callers import Gatekeeper
from waypost_coordinator.dead import Undertaker
from waypost_coordinator.front import FrontDesk
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter
from waypost_io import faults
from waypost_io.bus.ports import Delivery
from waypost_io.bus.topology import tasks_consumer
from waypost_proto.codec import encode
from waypost_proto.errors import Denied, NotFound, PermanentError, WaypostError
from waypost_proto.ids import RunId, check_name, derive_run_id, digest_of, unix_ms_of
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.mailbox import Reply, StartRun
from waypost_proto.task import parse_task
from waypost_proto.values import BlobRef

log = structlog.get_logger(__name__)

BATCH = 500
RETRY_SECONDS = 0.5
TRACE_HEADER = "traceparent"
NEW_SECONDS = 5.0
"""How old a run id may be whose run nobody can have begun: about as long as a producer waits before it publishes a task again."""


class Intake:
    """Run `run()` in a task. Every replica pulls from the same consumer."""

    def __init__(self, ground: Ground, front: FrontDesk, undertaker: Undertaker, gate: Gatekeeper) -> None:
        self._ground = ground
        self._gate = gate
        self._front = front
        self._undertaker = undertaker
        self._created = ""

    async def run(self) -> None:
        """Until cancelled; a stream that is gone is made again by the sweep, and pulling goes on."""
        spec = tasks_consumer(self._ground.subjects)
        while True:
            try:
                mark = await self._ground.bus.stream_mark(spec.stream)
                if mark is None:
                    raise NotFound(f"stream {spec.stream} is gone")
                self._created = mark.created
                await self._ground.bus.ensure_consumer(spec)
                await self._pull(spec.stream, spec.name)
            except WaypostError as error:
                log.warning("intake_interrupted", error=str(error))
                if isinstance(error, NotFound):
                    self._ground.look()
                await asyncio.sleep(RETRY_SECONDS)

    async def _pull(self, stream: str, consumer: str) -> None:
        puller = self._ground.bus.pull(stream, consumer, max_in_hand=BATCH)
        try:
            while True:
                batch = deque(await puller.next_batch(BATCH))
                try:
                    while batch:
                        await self._take(batch[0])
                        batch.popleft()
                except asyncio.CancelledError:  # this replica leaves: what was begun is begun again elsewhere, as the same run
                    for delivery in batch:
                        delivery.give_back()
                    raise
        finally:
            await puller.close()

    async def _take(self, delivery: Delivery) -> None:
        faults.point("coordinator.intake.before")
        source = f"TASKS.{digest_of(self._created.encode())[:12]}.{delivery.stream_seq}"
        try:
            start = await self._start(delivery)
            reserved = await self._front.reserve(start)
        except PermanentError as error:
            await self._undertaker.refuse(delivery, source, str(error))
            return
        if isinstance(reserved, Reply):
            await self._undertaker.refuse(delivery, source, reserved.message)
            return
        partition = self._ground.partition(reserved.run_id)
        if self._ground.owns(partition):
            self._hand_over(delivery, reserved, partition, source)
        else:
            subject = self._ground.subjects.mail("control", reserved.agent, reserved.run_id)
            await self._ground.bus.publish(subject, encode(reserved), msg_id=source)
            delivery.ack()
        faults.point("coordinator.intake.after")

    async def _start(self, delivery: Delivery) -> StartRun:
        agent = check_name("agent", self._ground.subjects.agent_of_task(delivery.subject))
        task = parse_task(delivery.body)
        caller = self._gate.identify(delivery.subject, delivery.headers, delivery.body, now=delivery.timestamp)
        self._gate.permit("runs.start", caller)
        if caller.agents and agent not in caller.agents:
            raise Denied(f"the token of {caller.subject} is for runs of {', '.join(caller.agents)}, not of {agent}")
        body = bytes(task.input)
        ref = None
        if len(body) > CLAIM_CHECK_BYTES:
            ref = BlobRef(sha256=await self._ground.store.blobs.put(body), size=len(body))
        return StartRun(
            run_id=RunId(task.run_id.lower()) if task.run_id is not None else self._derived(delivery),
            agent=agent,
            tenant=caller.tenant,
            starter=caller.subject,
            input=task.input if ref is None else UNSET,
            input_ref=UNSET if ref is None else ref,
            idempotency_key=task.idempotency_key,
            correlation_id=task.correlation_id,
            budget=None if task.budget is None else task.budget.limits(),
            deadline=task.deadline,
            labels=task.labels,
            trace=delivery.headers.get(TRACE_HEADER, ""),
        )

    def _derived(self, delivery: Delivery) -> RunId:
        return derive_run_id(int(delivery.timestamp * 1000), "task", self._ground.subjects.prefix, self._created, str(delivery.stream_seq))

    def _hand_over(self, delivery: Delivery, start: StartRun, partition: int, source: str) -> None:
        """Acked when the run's first dispatches are out; refused (another input under a chosen run id) it is a dead letter."""
        refused: list[str] = []

        def answer(reply: Reply) -> None:
            if not reply.ok and reply.code not in ("503", "504"):
                refused.append(reply.message)

        def done() -> None:
            if refused:
                self._undertaker.unreadable(delivery, source, refused[0])
            else:
                delivery.ack()

        self._ground.box.put(
            Letter(
                mail=start,
                run_id=start.run_id,
                partition=partition,
                done=done,
                answer=answer,
                source=source,
                subject=delivery.subject,
                body=delivery.body,
                headers=delivery.headers,
                new=self._is_new(delivery, start),
            )
        )

    def _is_new(self, delivery: Delivery, start: StartRun) -> bool:
        """Whether nobody can have seen the task before: its first delivery, by a consumer that is older than it, of a run id made just now.

        Clocks that differ, and producers that publish a task twice, make it wrong; then the commit is refused and the run looked for.
        """
        return (
            delivery.delivered == 1
            and delivery.consumer_since < delivery.timestamp
            and start.idempotency_key is None
            and abs(self._ground.clock.now() - unix_ms_of(start.run_id) / 1000) < NEW_SECONDS
        )
