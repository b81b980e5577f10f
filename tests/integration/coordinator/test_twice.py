"""Everything in the mailbox twice, late, and out of order: the journal is the one of a quiet day."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable

from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from tests.chaos.stack import Stack
from tests.integration.coordinator.outside import Outside
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.store.postgres import PostgresStore

ECHO = "Echo"


class Echoing:
    """Publishes every mailbox message once more under another message id, and keeps them all."""

    def __init__(self, prefix: str, connection: NatsClient) -> None:
        self.prefix = prefix
        self.connection = connection
        self.kept: list[Msg] = []

    async def start(self) -> Callable[[], object]:
        subscription = await self.connection.subscribe(f"{self.prefix}.mailbox.*.*.*", cb=self._heard)
        return subscription.unsubscribe

    async def _heard(self, message: Msg) -> None:
        if ECHO in (message.headers or {}):
            return
        self.kept.append(message)
        await self.again(message)

    async def again(self, message: Msg) -> None:
        headers = {**(message.headers or {}), "Nats-Msg-Id": uuid.uuid4().hex, ECHO: "1"}
        await self.connection.publish(message.subject, message.data, headers=headers)


async def test_every_mailbox_message_twice_and_then_all_of_them_backwards(
    services: Stack, outside: Outside, client: Client, plain: NatsClient, store: PostgresStore
) -> None:
    """CORRECTNESS.md rows 1 and 4: advances, results, signals, starts of children and their ends."""
    quiet = (await client.start("clerk", "bob")).run_id
    assert await client.result(quiet, timeout=30) == "BOB BOBX CHILD paid 2"
    echo = Echoing(outside.prefix, plain)
    stop = await echo.start()
    effects = len(services.effects())
    run_id = (await client.start("clerk", "bob")).run_id
    waiting = (await client.start("waiter", 1)).run_id
    await client.signal(waiting, "go", "x")
    assert await client.result(run_id, timeout=30) == "BOB BOBX CHILD paid 2"
    assert await client.result(waiting, timeout=30) == "x paid 1"
    await outside.finished(run_id)
    before = [row.body for run in (run_id, waiting) for row in await store.log.load_events(run)]
    assert len(echo.kept) >= 8
    for message in reversed(echo.kept):
        await echo.again(message)
    await plain.flush()
    await drained(outside)
    await stop()  # type: ignore[misc]
    assert [row.body for run in (run_id, waiting) for row in await store.log.load_events(run)] == before
    assert len(services.effects()) == effects + 2
    types = sorted(json.loads(row.body)["type"] for row in await store.log.load_events(run_id) if "advanced" not in row.type)
    wanted = sorted(json.loads(row.body)["type"] for row in await store.log.load_events(quiet) if "advanced" not in row.type)
    assert types == wanted


async def drained(outside: Outside) -> None:
    """Wait until the mailbox is empty: everything was judged and acked."""
    name = outside.prefix.upper() + "_MAILBOX"

    async def empty() -> bool:
        return (await outside.stream.stream_info(name)).state.messages == 0

    await wait_until(empty, seconds=30, message="messages stay in the mailbox")
