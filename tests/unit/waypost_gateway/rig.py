"""A gateway under test: the coordinator's part played by hand, on any bus and store.

`Rig` writes permits and approvals, sends tool calls, collects what comes into the mailbox. `Desktop` is the user's module: tools whose
behaviour each test scripts, and a count of the effects they had.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self

from msgspec import UNSET, Raw

from tests.waiting import wait_until
from waypost import NOT_DONE, ToolContext, tool
from waypost_gateway.gateway import Gateway, GatewayConfig
from waypost_gateway.metrics import Metrics
from waypost_io.bus.ports import Bus, ConsumerSpec, Message
from waypost_io.bus.topology import stream_specs
from waypost_io.lifecycle import Stop
from waypost_io.store.ports import ApprovalRow, Commit, LedgerState, PermitRow, Store
from waypost_proto.codec import decode, decode_union, encode
from waypost_proto.errors import BadMessage
from waypost_proto.ids import CallId, RunId, digest_of, idempotency_key, partition_of, uuid7
from waypost_proto.mailbox import AnyMailed, AnyToolMail, MailFrame
from waypost_proto.registry import AgentDefinition, GatewayNews
from waypost_proto.subjects import Subjects
from waypost_proto.tools import ToolCall
from waypost_proto.values import Effect

PARTITIONS = 4
OWNER = "rig"
AGENT = "clerk"
_numbers = itertools.count(1)

Behaviour = Callable[[ToolContext], Awaitable[Any]]


class Desktop:
    """Tools `look` (read), `put` (idempotent) and `post` (unsafe), each with an integer argument `amount`.

    Each runs the behaviour a test gave it (default: return "ok"); `effects` counts runs by idempotency key, `began` lists them.
    `options` are further arguments of `@tool` for all three.
    """

    def __init__(self, *, timeout: float = 5.0, concurrency: int = 64, **options: Any) -> None:
        self.began: list[ToolContext] = []
        self.effects: dict[str, int] = defaultdict(int)
        self.behaviour: dict[str, Behaviour] = {}
        self.hook: Behaviour | None = None
        desktop = self

        async def act(ctx: ToolContext) -> Any:
            desktop.began.append(ctx)
            behaviour = desktop.behaviour.get(ctx.tool)
            if behaviour is None:
                desktop.effects[ctx.idempotency_key] += 1
                return "ok"
            return await behaviour(ctx)

        async def ask(ctx: ToolContext, amount: int) -> Any:
            assert desktop.hook is not None
            return await desktop.hook(ctx)

        @tool(effect="read", timeout=timeout, concurrency=concurrency, **options)
        async def look(ctx: ToolContext, amount: int) -> Any:
            return await act(ctx)

        @tool(effect="idempotent", timeout=timeout, concurrency=concurrency, **options)
        async def put(ctx: ToolContext, amount: int) -> Any:
            return await act(ctx)

        @tool(effect="unsafe", timeout=timeout, concurrency=concurrency, reconcile=ask, **options)
        async def post(ctx: ToolContext, amount: int) -> Any:
            return await act(ctx)

        self.tools = [look, put, post]

    def effect(self, ctx: ToolContext) -> None:
        self.effects[ctx.idempotency_key] += 1

    @property
    def total_effects(self) -> int:
        return sum(self.effects.values())


def approval_id() -> str:
    """A new one; tests on a real database share it."""
    return f"a-{os.urandom(6).hex()}"


async def not_done(_: ToolContext) -> object:
    """A hook that is sure."""
    return NOT_DONE


class Gate:
    """A behaviour that has its effect and then hangs until it is opened: the moment at which crashes hurt."""

    def __init__(self, desktop: Desktop) -> None:
        self._desktop = desktop
        self.open = asyncio.Event()

    async def __call__(self, ctx: ToolContext) -> str:
        self._desktop.effect(ctx)
        await self.open.wait()
        return f"by attempt {ctx.attempt}"


class Rig:
    """The coordinator by hand. Use as an async context manager."""

    def __init__(self, bus: Bus, store: Store, count_tools: Callable[[], Awaitable[int]], *, prefix: str = "waypost") -> None:
        """`count_tools`: how many messages the tool stream holds."""
        self.count_tools = count_tools
        self.bus = bus
        self.store = store
        self.subjects = Subjects(prefix)
        self.answers: list[AnyToolMail] = []
        self.frames: list[str] = []
        """Subjects of messages with several answers."""
        self.news: list[GatewayNews] = []
        self._epochs: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        for spec in stream_specs(self.subjects, partitions=PARTITIONS):
            await self.bus.ensure_stream(spec)
        await self.store.leases.ensure_partitions(PARTITIONS)
        for lease in await self.store.leases.acquire(OWNER, at_most=PARTITIONS, lease_seconds=3_600):
            self._epochs[lease.partition] = lease.epoch
        await self.allow(["look", "put", "post"])
        mailbox = ConsumerSpec(stream=self.subjects.stream("MAILBOX"), name="rig", filter_subject=f"{self.subjects.prefix}.mailbox.>")
        await self.bus.ensure_consumer(mailbox)
        self._puller = self.bus.pull(mailbox.stream, mailbox.name)
        self._reading = asyncio.create_task(self._read())
        self._listening = await self.bus.subscribe(self.subjects.gateways(), self._listen)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._listening.close()
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._puller.close()
        await self.store.leases.release(OWNER, self._epochs)

    async def _read(self) -> None:
        while True:
            for delivery in await self._puller.next_batch(100):
                mail = decode_union(AnyMailed, delivery.body)
                if isinstance(mail, MailFrame):
                    self.frames.append(delivery.subject)
                self.answers += [decode_union(AnyToolMail, body) for body in mail.mail] if isinstance(mail, MailFrame) else [mail]
                delivery.ack()

    async def _listen(self, message: Message) -> None:
        with contextlib.suppress(BadMessage):
            self.news.append(decode(GatewayNews, message.body))

    def news_of(self, tool: str) -> list[GatewayNews]:
        """What gateways said while the tool's breaker was open."""
        return [news for news in self.news if any(each.tool == tool and each.state == "open" for each in news.breakers)]

    async def allow(self, tools: list[str], *, agent: str = AGENT, build: str = "b1") -> None:
        await self.store.definitions.put([AgentDefinition(name=agent, build=build, tools=tools)], [])

    # -- calls

    def call(self, tool_name: str, args: bytes = b'{"amount":1}', **more: Any) -> ToolCall:
        run_id = more.pop("run_id", None) or uuid7(int(time.time() * 1000), os.urandom(10))
        call_id = more.pop("call_id", CallId(f"0:{next(_numbers)}"))
        effect = more.pop("effect", {"look": Effect.READ, "put": Effect.IDEMPOTENT, "post": Effect.UNSAFE}[tool_name])
        fields: dict[str, Any] = {
            "agent": AGENT,
            "attempt": 1,
            "args": UNSET if "args_ref" in more else Raw(args),
            "args_digest": digest_of(args),
            "idempotency_key": idempotency_key(run_id, call_id),
            "permit": effect is not Effect.READ,
            **more,
        }
        return ToolCall(run_id=run_id, call_id=call_id, tool=tool_name, effect=effect, **fields)

    async def permit(self, call: ToolCall, **more: Any) -> None:
        fields: dict[str, Any] = {
            "attempt": call.attempt,
            "args_digest": call.args_digest,
            "approval_id": call.approval_id,
            "effect": call.effect.value,
            **more,
        }
        row = PermitRow(run_id=call.run_id, call_id=call.call_id, tool=call.tool, idempotency_key=call.idempotency_key, **fields)
        await self._commit(call.run_id, permits=[row])

    async def approval(self, call: ToolCall, **more: Any) -> None:
        assert call.approval_id is not None
        now = await self.store.leases.now()
        fields: dict[str, Any] = {
            "args_digest": call.args_digest,
            "state": "granted",
            "expires_at": now + 60,
            "decided_by": "ann",
            "decided_at": now,
            **more,
        }
        row = ApprovalRow(
            approval_id=call.approval_id,
            run_id=call.run_id,
            agent=call.agent,
            call_id=call.call_id,
            tool=call.tool,
            args=b"{}",
            role="officer",
            reason="",
            tenant="default",
            requested_at=now,
            **fields,
        )
        await self._commit(call.run_id, approvals=[row])

    async def revoke(self, run_id: RunId) -> None:
        await self._commit(run_id, revoke_runs=[run_id])

    async def _commit(self, run_id: RunId, **rows: Any) -> None:
        partition = partition_of(run_id, PARTITIONS)
        lease = next(lease for lease in await self.store.leases.owners() if lease.partition == partition)
        leases = [(partition, self._epochs[partition], lease.position, lease.published)]
        result = await self.store.log.commit(Commit(owner=OWNER, leases=leases, **rows))
        assert not result.lost

    async def send(self, call: ToolCall) -> None:
        msg_id = f"{call.run_id}.{call.call_id}.{call.attempt}.{call.mode}.{call.emission}.{next(_numbers)}"
        await self.bus.publish(self.subjects.tool(call.tool), encode(call), msg_id=msg_id)

    async def run(self, call: ToolCall) -> AnyToolMail:
        """Permit it if need be, send it, and return its first answer."""
        if call.permit:
            await self.permit(call)
        await self.send(call)
        return await self.answer(call)

    # -- what came of it

    def of(self, call: ToolCall) -> list[AnyToolMail]:
        return [answer for answer in self.answers if (answer.run_id, answer.call_id) == (call.run_id, call.call_id)]

    async def answer(self, call: ToolCall, number: int = 1) -> AnyToolMail:
        """The first, second, … answer about the call."""
        await wait_until(lambda: len(self.of(call)) >= number, message=f"answer {number} to {call.tool}")
        return self.of(call)[number - 1]

    async def row(self, call: ToolCall) -> LedgerState:
        found = await self.store.ledger.get(call.run_id, call.call_id)
        assert found is not None
        return found

    async def settled(self) -> None:
        """Wait until no message is left in the tool stream: everything sent is acked."""
        await wait_until(self._none_left, message="tool calls that are not acked")

    async def _none_left(self) -> bool:
        return await self.count_tools() == 0

    # -- the gateway

    @contextlib.asynccontextmanager
    async def gateway(self, desktop: Desktop, **config: Any) -> AsyncIterator[RunningGateway]:
        async with RunningGateway(self, desktop, config) as running:
            yield running


class RunningGateway:
    """A gateway in this process, to stop or to kill."""

    def __init__(self, rig: Rig, desktop: Desktop, config: dict[str, Any]) -> None:
        bus, store, rules = config.pop("bus", rig.bus), config.pop("store", rig.store), config.pop("rules", None)
        fields = {"peer": f"gateway-{next(_numbers)}", "ack_wait_seconds": 0.5, "lease_seconds": 0.4, **config}
        fields = {"grace_seconds": 0.1, "settle_seconds": 0.1, "drain_seconds": 2.0, **fields}
        self.peer = str(fields["peer"])
        self.metrics = Metrics()
        self.gateway = Gateway(bus, store, rig.subjects, desktop.tools, GatewayConfig(**fields), rules=rules, metrics=self.metrics)
        self.stop = Stop()

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.gateway.serve(self.stop))
        await wait_until(lambda: self.gateway.pulling or self.task.done())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.stop.request("test is over")
        await asyncio.wait([self.task], timeout=10)
        if not self.task.done():
            self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        if not self.task.cancelled() and self.task.exception() is not None and exc == (None, None, None):
            raise AssertionError("the gateway failed") from self.task.exception()

    async def kill(self) -> None:
        """As a crash: nothing is settled, nothing acked."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
