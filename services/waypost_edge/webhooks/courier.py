"""From the events' stream to one endpoint: at least once, with growing pauses, until it is taken or given up.

All edges pull from one durable consumer per subscription. An event is acknowledged when the endpoint has answered 2xx, or when it is a
dead letter, so that one that is under way when an edge dies is sent by another. Order is not kept: receivers have `seq`. An event that is
given up goes to `waypost.dead.webhooks` with its bytes and the reason, and is told in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from waypost_edge.metrics import Metrics
from waypost_edge.webhooks.sending import Answer, Sender, body_of, id_of
from waypost_edge.webhooks.subscriptions import Subscription
from waypost_io.bus.ports import Bus, Delivery, Puller
from waypost_io.bus.topology import webhook_consumer
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage, WaypostError
from waypost_proto.events import Event
from waypost_proto.subjects import Subjects

FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 600.0
KEEP_SECONDS = 10.0
"""How often the server is told that an event is still being worked on; below the consumer's ack wait."""
RESTART_SECONDS = 1.0
WEBHOOK_HEADER, REASON_HEADER, SUBJECT_HEADER = "Waypost-Webhook", "Waypost-Reason", "Waypost-Subject"
log = structlog.get_logger(__name__)


class Sends(Protocol):
    """`Sender`, or what a test puts in its place."""

    async def send(self, message_id: str, body: bytes, at: float) -> Answer: ...


class Courier:
    """Of one subscription; `run()` in a task. `first_seconds` is the first pause, which doubles each time."""

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        webhook: Subscription,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.time,
        first_seconds: float = FIRST_RETRY_SECONDS,
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._webhook = webhook
        self._metrics = metrics
        self._clock = clock
        self._first = first_seconds

    async def run(self) -> None:
        """Until cancelled; a stream that is gone is made again by a coordinator, and pulling goes on."""
        async with Sender(self._webhook) as sender:
            while True:
                try:
                    await self._pull(sender)
                except WaypostError as error:
                    log.warning("webhooks_interrupted", webhook=self._webhook.name, error=str(error))
                    await asyncio.sleep(RESTART_SECONDS)

    async def _pull(self, sender: Sends) -> None:
        spec = webhook_consumer(self._subjects, self._webhook.name)
        await self._bus.ensure_consumer(spec)
        puller = self._bus.pull(spec.stream, spec.name, max_in_hand=self._webhook.at_once, prefetch=False)
        free = asyncio.Semaphore(self._webhook.at_once)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await free.acquire()
                    event, delivery = await self._next(puller)
                    group.create_task(self._deliver(sender, event, delivery)).add_done_callback(lambda _: free.release())
        except* WaypostError as errors:
            raise errors.exceptions[0] from None
        finally:
            await puller.close()

    async def _next(self, puller: Puller) -> tuple[Event, Delivery]:
        """The next event that is for this endpoint; at most one message is in hand that is not."""
        while True:
            for delivery in await puller.next_batch(1):
                event = self._wanted(delivery)
                if event is not None:
                    return event, delivery

    def _wanted(self, delivery: Delivery) -> Event | None:
        """The event in a delivery; what is not for this endpoint is acknowledged at once."""
        try:
            event = decode(Event, delivery.body)
        except BadMessage:
            log.exception("webhook_event_unreadable", subject=delivery.subject)
            delivery.ack()
            return None
        if not self._webhook.wants(event):
            delivery.ack()
            return None
        return event

    async def _deliver(self, sender: Sends, event: Event, delivery: Delivery) -> None:
        """Until it is taken or given up. The server is told meanwhile that somebody has it; an edge that leaves gives it to another."""
        try:
            await self._until_settled(sender, event, delivery)
        except asyncio.CancelledError:
            delivery.give_back()
            raise
        delivery.ack()

    async def _until_settled(self, sender: Sends, event: Event, delivery: Delivery) -> None:
        body = body_of(event, delivery.body)
        pause = self._first
        attempt = 0
        while True:
            attempt += 1
            answer = await self._attempt(sender, event, body, delivery)
            if not answer.problem:
                return
            late = self._clock() - delivery.timestamp >= self._webhook.give_up_seconds
            if answer.final or late or attempt >= self._webhook.attempts:
                await self._give_up(event, delivery, f"{answer.problem}, after {attempt} attempts")
                return
            await self._hold(delivery, max(pause, answer.retry_after_seconds))
            pause = min(LAST_RETRY_SECONDS, 2 * pause)

    async def _attempt(self, sender: Sends, event: Event, body: bytes, delivery: Delivery) -> Answer:
        sending = asyncio.ensure_future(sender.send(id_of(event), body, self._clock()))
        try:
            while not (await asyncio.wait([sending], timeout=KEEP_SECONDS))[0]:
                delivery.in_progress()
        finally:
            sending.cancel()
        answer = sending.result()
        self._metrics.webhooks.labels(self._webhook.name, "failed" if answer.problem else "taken").inc()
        if answer.problem:
            log.warning(
                "webhook_not_delivered",
                webhook=self._webhook.name,
                run_id=event.run_id,
                agent=event.agent,
                seq=event.seq,
                type=event.type,
                error=answer.problem,
            )
        return answer

    async def _give_up(self, event: Event, delivery: Delivery, reason: str) -> None:
        """Idempotent by the event and the subscription: another edge that gives up the same one adds nothing within the window."""
        headers = {WEBHOOK_HEADER: self._webhook.name, REASON_HEADER: reason[:500], SUBJECT_HEADER: delivery.subject}
        await self._bus.publish(
            self._subjects.dead("webhooks"), delivery.body, headers=headers, msg_id=f"webhook-{self._webhook.name}-{id_of(event)}"
        )
        self._metrics.webhooks.labels(self._webhook.name, "given_up").inc()
        log.error("webhook_given_up", webhook=self._webhook.name, run_id=event.run_id, agent=event.agent, seq=event.seq, error=reason)

    async def _hold(self, delivery: Delivery, seconds: float) -> None:
        while seconds > 0:
            delivery.in_progress()
            await asyncio.sleep(min(seconds, KEEP_SECONDS))
            seconds -= KEEP_SECONDS
        delivery.in_progress()
