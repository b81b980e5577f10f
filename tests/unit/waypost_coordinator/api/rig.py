"""The API's endpoints over a store in memory and a coordinator reduced to its core: it decides and commits, one message at a time.

`Desk` is the `Commands` of these tests. It sends nothing to workers or gateways; tests play their part with `play`.
"""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack
from typing import Self

import msgspec

from waypost_coordinator.api import Api, endpoints
from waypost_coordinator.callers import Gatekeeper
from waypost_coordinator.encoding import Stamp, event_row, run_row
from waypost_core import effects as fx
from waypost_core.decide import decide
from waypost_core.evolve import evolve
from waypost_core.messages import AnyMessage, Env
from waypost_core.react import react
from waypost_core.starting import input_digest
from waypost_core.state import RunState, decode_state
from waypost_io.bus.ports import Bus, Service
from waypost_io.store.memory import MemoryStore
from waypost_io.store.ports import ApprovalRow, BlobRow, Commit
from waypost_proto.api import AgentView, RedispatchAnswer, ToolView
from waypost_proto.errors import NotFound
from waypost_proto.events import Data, Event
from waypost_proto.ids import RunId, uuid7
from waypost_proto.limits import PROTOCOL_VERSION
from waypost_proto.mailbox import AnyControl, DecideApproval, Reply, StartRun
from waypost_proto.subjects import Subjects

OWNER = "desk"


class Hosts:
    """The `Directory` of these tests: what a test says."""

    def __init__(self) -> None:
        self.agents: list[AgentView] = []
        self.tools: list[ToolView] = []

    def agent_views(self) -> list[AgentView]:
        return self.agents

    def tool_views(self) -> list[ToolView]:
        return self.tools


class Desk:
    """Hosts the API on `bus`. `now` is the clock of store and desk; `submitted` is what reached the coordinator."""

    def __init__(self, bus: Bus, prefix: str = "t", *, now: float | None = None) -> None:
        self.bus = bus
        self.subjects = Subjects(prefix)
        self.now = time.time() if now is None else now
        self.store = MemoryStore(lambda: self.now)
        self.hosts = Hosts()
        self.submitted: list[AnyControl] = []
        self.refuse: Reply | Exception | None = None
        self.publish = True
        self.gate: Gatekeeper | None = None
        """Who tells callers apart; set before it is entered."""
        self._stack = AsyncExitStack()
        self._epoch = 0
        self._position = 0

    async def __aenter__(self) -> Self:
        await self.store.leases.ensure_partitions(1)
        [lease] = await self.store.leases.acquire(OWNER, at_most=1, lease_seconds=1e9)
        self._epoch = lease.epoch
        api = Api(
            store=self.store,
            commands=self,
            directory=self.hosts,
            bus=self.bus,
            subjects=self.subjects,
            clock=lambda: self.now,
            gate=self.gate,
        )
        service: Service = await self.bus.serve("waypost", PROTOCOL_VERSION, "the API under test", endpoints(api))
        self._stack.push_async_callback(service.close)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    # -- Commands

    async def submit(self, mail: AnyControl) -> Reply:
        self.submitted.append(mail)
        if isinstance(self.refuse, Exception):
            raise self.refuse
        if self.refuse is not None:
            return self.refuse
        if isinstance(mail, StartRun) and mail.idempotency_key is not None:
            key = (mail.tenant, mail.agent, mail.idempotency_key)
            found = await self.store.keys.reserve([(*key, mail.run_id, input_digest(mail))])
            mail = msgspec.structs.replace(mail, run_id=found[key][0])
        return await self.decide(mail)

    async def redispatch(self, run_id: RunId | None) -> RedispatchAnswer:
        if run_id is not None and await self.store.reads.get(run_id) is None:
            raise NotFound(f"no run {run_id}")
        return RedispatchAnswer(runs=1, dispatches=2)

    # -- playing coordinator, worker and gateway

    async def started(self, agent: str = "desk", *, input: bytes = b"{}", **more: object) -> RunId:  # noqa: A002
        """A new run of `agent`."""
        mail = StartRun(run_id=new_id(), agent=agent, input=msgspec.Raw(input), **more)  # type: ignore[arg-type]
        reply = await self.decide(mail)
        assert reply.ok, reply
        return reply.run_id

    async def decide(self, mail: AnyMessage) -> Reply:
        run_id = RunId(mail.run_id)  # type: ignore[union-attr]
        state = await self.state(run_id)
        decision = decide(state, mail, Env(now=self.now))
        if state is None and isinstance(mail, StartRun):
            state = RunState(run_id=run_id, agent=mail.agent, tenant=mail.tenant, correlation_id=mail.correlation_id or run_id)
        if decision.events:
            assert state is not None
            await self._commit(state, list(decision.events), cause=decision.cause)
        reply = decision.reply or Reply(run_id=run_id, ok=True)
        if isinstance(mail, DecideApproval) and reply.ok:
            assert mail.by
        return msgspec.structs.replace(reply, status=state.status if state is not None else None)

    async def play(self, run_id: RunId, *events: Data) -> RunState:
        """Append what a worker, a gateway or time did."""
        state = await self.state(run_id)
        assert state is not None, run_id
        await self._commit(state, list(events))
        return state

    async def state(self, run_id: RunId) -> RunState | None:
        row = await self.store.reads.get(run_id)
        return decode_state(row.state) if row is not None else None

    async def _commit(self, state: RunState, events: list[Data], *, cause: str = "") -> None:
        batch = Commit(owner=OWNER)
        stamp = Stamp(self.now)
        for data in events:
            self._position += 1
            row, _ = event_row(state, data, stamp=stamp, partition=0, position=self._position, cause=cause)
            evolve(state, row.seq, stamp.at, data, cause)
            cause = ""
            batch.events.append(row)
            for effect in react(state, row.seq, data):
                _approval(batch, state, effect)
        batch.leases.append((0, self._epoch, self._position, self._position))
        batch.runs.append(run_row(state, partition=0, unhosted=False))
        result = await self.store.log.commit(batch)
        assert not result.lost
        if self.publish:
            for row in batch.events:
                self.bus.send(self.subjects.event(state.agent, row.run_id, row.type), row.body)

    async def put_blob(self, data: bytes) -> BlobRow:
        return BlobRow(await self.store.blobs.put(data), data)


def new_id() -> RunId:
    return uuid7(int(time.time() * 1000), os.urandom(10))


def event_of(body: bytes) -> Event:
    return msgspec.json.decode(body, type=Event)


def _approval(batch: Commit, state: RunState, effect: fx.AnyEffect) -> None:
    if not isinstance(effect, (fx.OpenApproval, fx.CloseApproval)):
        return
    call = state.calls.get(effect.call_id)
    opened = isinstance(effect, fx.OpenApproval)
    batch.approvals.append(
        ApprovalRow(
            approval_id=effect.approval_id,
            run_id=state.run_id,
            agent=state.agent,
            call_id=effect.call_id,
            tool=call.name if call is not None else "",
            args=bytes(call.args) if call is not None and call.args is not None else b"",
            args_digest=call.args_digest if call is not None else "",
            role=effect.role if isinstance(effect, fx.OpenApproval) else "",
            reason=effect.reason,
            tenant=state.tenant,
            requested_at=state.recorded_at,
            expires_at=effect.expires_at if isinstance(effect, fx.OpenApproval) else state.recorded_at,
            state="open" if opened else effect.state,  # type: ignore[union-attr, arg-type]
            decided_by="" if opened else effect.by,  # type: ignore[union-attr]
            decided_at=None if opened else state.recorded_at,
        )
    )
