"""Those who use the deployment: they start runs, send signals, approve or deny, pause, resume, cancel, settle doubts, and repeat what
was not confirmed. What they were told is what the checks hold Waypost to.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, Raw

from tests.chaos.storm.deployment import PREFIX, Deployment
from tests.chaos.storm.observer import Observer
from tests.chaos.storm.programs import DENIED_EVERY, NAMES
from tests.chaos.storm.provider import ask
from waypost import Client
from waypost_io.bus.jetstream import JetStreamBus
from waypost_proto import api
from waypost_proto.codec import encode
from waypost_proto.errors import Conflict, NotFound, TransientError, WaypostError
from waypost_proto.values import TERMINAL

PATIENCE_SECONDS = 5.0
_PAUSE_SECONDS = 0.3
_SEEN_TRIES = 12
_LEDGER_SECONDS = 3.0


@dataclass(kw_only=True)
class Order:
    """One run as its customer sees it."""

    key: str
    agent: str
    number: int
    starts_at: float
    """Seconds after the round's start."""
    by_task: bool
    pause_after: float | None = None
    pause_seconds: float = 0.0
    cancel_after: float | None = None
    run_id: str = ""
    """Set once Waypost has accepted it."""


@dataclass(kw_only=True)
class Hold:
    """A confirmed pause or cancel: from `since` to `until` nothing of the run takes effect but what had been started before."""

    run_id: str
    verb: str
    since: float
    until: float = float("inf")
    started: frozenset[str] | None = None
    """The idempotency keys of the calls that were under way; None when the database could not be asked."""


@dataclass
class Book:
    """What customers asked for and what they were told, over all rounds."""

    holds: list[Hold] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """What Waypost should not have answered."""
    resolved: int = 0


def orders_of(seed: int, number: int, *, seconds: float, per_second: float) -> list[Order]:
    """What is ordered in a round."""
    chance = random.Random(f"orders {seed}/{number}")
    orders = []
    at = chance.uniform(0.0, 0.5)
    while at < seconds:
        order = Order(
            key=f"{number}-{len(orders)}",
            agent=chance.choices(NAMES, weights=[3, 2, 3, 2, 3, 3])[0],
            number=1 + chance.randrange(9),
            starts_at=at,
            by_task=chance.random() < 0.3,
        )
        if chance.random() < 0.15:
            order.pause_after, order.pause_seconds = chance.uniform(0.0, 3.0), chance.uniform(0.5, 6.0)
        if chance.random() < 0.15:
            order.cancel_after = chance.uniform(0.0, 6.0)
        orders.append(order)
        at += chance.expovariate(per_second)
    return orders


class Customers:
    """Serve orders of many rounds over one connection."""

    def __init__(self, made: Deployment, client: Client, bus: JetStreamBus, observer: Observer, book: Book) -> None:
        self._made, self._client, self._bus, self._observer = made, client, bus, observer
        self.book = book
        self.serving = 0
        """Orders whose customers still want something."""

    async def serve(self, orders: list[Order]) -> None:
        """Returns when every order is accepted and all that its customer wanted is confirmed or impossible."""
        self.serving = len(orders)
        async with asyncio.TaskGroup() as group:
            for order in orders:
                group.create_task(self._serve(order))

    async def approve_forever(self) -> None:
        """The officer: decides whatever is open."""
        while True:
            with contextlib.suppress(TransientError):
                for approval in await self._client.approvals(role="officer"):
                    await self._decide(approval)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _decide(self, approval: api.ApprovalView) -> None:
        assert isinstance(approval.args, Raw)
        number = int(msgspec.json.decode(approval.args)["cents"])
        request = api.ApprovalsDecide(
            approval_id=approval.approval_id,
            decision="approve" if number % DENIED_EVERY else "deny",
            by="ann",
            roles=["officer"],
            request_id=approval.approval_id,
        )
        await self._confirmed(lambda: self._client.call("approvals.decide", request, api.RunAnswer))

    async def _serve(self, order: Order) -> None:
        await asyncio.sleep(order.starts_at)
        order.run_id = await (self._by_task(order) if order.by_task else self._by_request(order))
        async with asyncio.TaskGroup() as group:
            if order.agent == "clerk":
                group.create_task(self._signal(order))
            if order.agent == "wirer":
                group.create_task(self._settle_doubts(order))
            if order.pause_after is not None:
                group.create_task(self._pause(order, order.pause_after))
            if order.cancel_after is not None:
                group.create_task(self._cancel(order, order.cancel_after))
        self.serving -= 1

    async def _by_request(self, order: Order) -> str:
        answer = await self._until_told(lambda: self._client.start(order.agent, order.number, idempotency_key=order.key))
        return str(answer.run_id)

    async def _by_task(self, order: Order) -> str:
        """A raw publish is as safe as its stream: repeated until the run is seen."""
        body = encode({"input": order.number, "idempotency_key": order.key})
        while True:
            with contextlib.suppress(WaypostError):
                await self._bus.publish(f"{PREFIX}.tasks.{order.agent}", body, msg_id=uuid.uuid4().hex)
            for _ in range(_SEEN_TRIES):
                await asyncio.sleep(_PAUSE_SECONDS)
                query = "select k.run_id from idempotency k join runs using (run_id) where k.agent = $1 and k.key = $2"
                if found := await self._observer.fetchval(query, order.agent, order.key, patience_seconds=None):
                    return str(found)

    async def _signal(self, order: Order) -> None:
        for number in range(2):
            await asyncio.sleep(_PAUSE_SECONDS * (order.number % 3))
            request = api.RunSignal(
                run_id=order.run_id, name="papers", payload=Raw(encode(number)), payload_ref=UNSET, request_id=f"{order.key}.s{number}"
            )
            if not await self._confirmed(lambda request=request: self._client.call("runs.signal", request, api.RunAnswer)):
                return

    async def _pause(self, order: Order, after: float) -> None:
        await asyncio.sleep(after)
        if not await self._command(order, "pause"):
            return
        hold = await self._held(order, "pause")
        await asyncio.sleep(order.pause_seconds)
        hold.until = time.time()
        await self._command(order, "resume")

    async def _cancel(self, order: Order, after: float) -> None:
        await asyncio.sleep(after)
        if await self._command(order, "cancel"):
            await self._held(order, "cancel")

    async def _held(self, order: Order, verb: str) -> Hold:
        hold = Hold(run_id=order.run_id, verb=verb, since=time.time())
        query = "select idempotency_key from tool_ledger where run_id = $1::text::uuid and state in ('started', 'doubt')"
        with contextlib.suppress(TimeoutError):
            rows = await self._observer.fetch(query, order.run_id, patience_seconds=_LEDGER_SECONDS)
            hold.started = frozenset(row["idempotency_key"] for row in rows)
        self.book.holds.append(hold)
        return hold

    async def _command(self, order: Order, verb: str) -> bool:
        request = api.RunCommand(run_id=order.run_id, request_id=f"{order.key}.{verb}")
        return await self._confirmed(lambda: self._client.call(f"runs.{verb}", request, api.RunAnswer))

    async def _settle_doubts(self, order: Order) -> None:
        """The person that a call in doubt waits for: makes sure that it can take effect no more, and says whether it had."""
        while True:
            view = await self._until_told(lambda: self._client.get(order.run_id))
            if view.status in TERMINAL:
                return
            for call in view.open_calls:
                if call.state == "doubt":
                    await self._settle(order, call)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _settle(self, order: Order, call: api.CallView) -> None:
        key = f"{order.run_id}/{call.call_id}"
        about = {"op": "void", "key": key, "attempt": call.attempt}
        receipt = (await ask(str(self._made.folder / "provider.sock"), about))["receipt"]
        request = api.RunResolve(
            run_id=order.run_id,
            call_id=call.call_id,
            outcome="completed" if receipt else "not_done",
            result=Raw(encode(receipt)) if receipt else UNSET,
            by="ann",
            request_id=f"{key}.{call.attempt}",
        )
        self.book.resolved += await self._confirmed(lambda: self._client.call("runs.resolve", request, api.RunAnswer))

    async def _until_told(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, asked for as long as nobody gives one. Every request is safe to repeat."""
        while True:
            try:
                return await question()
            except TransientError:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _confirmed(self, question: Callable[[], Awaitable[Any]]) -> bool:
        """Whether Waypost did it; False if it says that it cannot be done any more."""
        try:
            await self._until_told(question)
        except Conflict:
            return False
        except NotFound as error:
            self.book.complaints.append(f"the API answered {error}")
            return False
        return True


@contextlib.asynccontextmanager
async def customers(made: Deployment, observer: Observer) -> AsyncIterator[Customers]:
    """Customers with a connection of their own, over a link that can be struck as well."""
    async with (
        JetStreamBus(made.customers_url, name="customers") as bus,
        Client(bus=bus, prefix=PREFIX, patience_seconds=PATIENCE_SECONDS) as client,
    ):
        yield Customers(made, client, bus, observer, Book())
