"""The world outside of Waypost: it publishes tasks with plain nats-py, and reads events and dead letters from their streams."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any, Self

import nats.errors
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from tests.waiting import wait_until
from waypost_io.store.postgres import PostgresStore
from waypost_proto.ids import RunId


class Outside:
    """Use as an async context manager: entering subscribes to events and dead letters from now on."""

    def __init__(self, prefix: str, connection: NatsClient, store: PostgresStore) -> None:
        self.prefix = prefix
        self.connection = connection
        self.store = store
        self.stream = connection.jetstream()
        self.events: list[Msg] = []
        self.dead: list[Msg] = []

    async def __aenter__(self) -> Self:
        self._events = await self.stream.subscribe(f"{self.prefix}.events.>", cb=self._event, ordered_consumer=True)
        self._dead = await self.stream.subscribe(f"{self.prefix}.dead.>", cb=self._dead_letter, ordered_consumer=True)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for subscription in (self._events, self._dead):
            with suppress(nats.errors.Error):
                await subscription.unsubscribe()

    async def _event(self, message: Msg) -> None:
        self.events.append(message)

    async def _dead_letter(self, message: Msg) -> None:
        self.dead.append(message)

    async def task(self, agent: str, body: bytes | dict[str, Any], **headers: str) -> int:
        """Publish a task; its sequence in the stream."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        ack = await self.stream.publish(f"{self.prefix}.tasks.{agent}", data, headers=headers or None)
        return ack.seq

    async def dead_letter(self, sequence: int) -> Msg:
        """The dead letter of the task with this sequence."""

        def found() -> Msg | None:
            return next((m for m in self.dead if (m.headers or {}).get("Waypost-Origin-Sequence") == str(sequence)), None)

        await wait_until(found, message=lambda: f"no dead letter of task {sequence} among {[m.headers for m in self.dead]}")
        message = found()
        assert message is not None
        return message

    def of_run(self, run_id: str) -> list[Msg]:
        return [message for message in self.events if message.subject.split(".")[3] == run_id]

    async def finished(self, run_id: str) -> list[Msg]:
        """The run's events on `events.>`, once the last of them is there."""
        ends = ("run_completed", "run_failed", "run_cancelled")

        def ended() -> bool:
            return any(message.subject.endswith(ends) for message in self.of_run(run_id))

        await wait_until(ended, seconds=30, message=lambda: f"{[m.subject for m in self.of_run(run_id)]}")
        return self.of_run(run_id)

    async def run_of(self, key: str) -> RunId:
        """The run that a task with this correlation id became."""

        def found() -> RunId | None:
            return next((RunId(m.subject.split(".")[3]) for m in self.events if json.loads(m.data)["correlation_id"] == key), None)

        run_id = await wait_until(found, seconds=30)
        assert run_id is not None
        await asyncio.sleep(0)
        return run_id
