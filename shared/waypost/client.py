"""`Client`: start runs, wait for them, and act on them, from any Python program. It needs NATS and nothing else.

    async with Client() as client:
        run = await client.start("compliance", Case(id="c-1", account="a-7"), idempotency_key="c-1")
        print(await client.result(run.run_id, type=str))

Owns no connection settings (they are `waypost_io.settings`) and keeps nothing between calls: every answer is the coordinator's.
"""

from __future__ import annotations

import asyncio
import builtins
import os
import time
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypeVar, overload

import msgspec
from msgspec import UNSET, Raw
from msgspec.structs import replace

from waypost import _following as following
from waypost import _streaming as streaming
from waypost._requests import Requests
from waypost._tasks import command, connect, deadline_text, decision, listed, run_failed, task_budget
from waypost.streamed import Streamed
from waypost_core.comparing import Comparison, compare
from waypost_io.bus.ports import Bus
from waypost_io.identity import Signer, Signs, token_from
from waypost_io.settings import Settings, load
from waypost_proto import api
from waypost_proto.codec import decode, encode
from waypost_proto.events import TERMINAL_TYPES, Event
from waypost_proto.forks import ForkTools
from waypost_proto.ids import RunId, parse_run_id, uuid7
from waypost_proto.subjects import Subjects
from waypost_proto.values import TERMINAL, BlobRef, Budget, RunStatus

T = TypeVar("T")
A = TypeVar("A")

PATIENCE_SECONDS = 30.0
MAX_POLL_SECONDS = 60.0
"""How soon the end of a run is seen at the latest, should the message about it be lost."""


class Client:
    """A connection to Waypost. Use as an async context manager; safe to use from many tasks at once.

    Without arguments everything comes from the environment (`WAYPOST_NATS_URL`, `WAYPOST_NATS_CREDS`, `WAYPOST_NATS_CA`,
    `WAYPOST_PREFIX`, `WAYPOST_API_TOKEN`). With a token every request is signed by it. Every method may raise `Unreachable` after
    `patience_seconds` without an answer; a request that was lost is repeated until then, which never does anything twice. Cancelling a
    method sends nothing more and undoes nothing.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        prefix: str | None = None,
        bus: Bus | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        token: str | Signs | None = None,
    ) -> None:
        """`token`: whose requests these are, instead of `WAYPOST_API_TOKEN`; "" for nobody's. What signs may stand for it.

        `bus`: a bus that is already open, shared with the caller and left open; `url` and credentials are not used then.
        """
        settings = load(Settings)
        self._subjects = Subjects(prefix) if prefix is not None else settings.subjects
        self._own = bus is None
        self._bus = bus if bus is not None else connect(settings, url)
        token = token if token is not None else token_from(settings.api_token, settings.api_token_file)
        signer = (Signer(token) if token else None) if isinstance(token, str | None) else token
        self._requests = Requests(self._bus, self._subjects, patience_seconds=patience_seconds, signer=signer)
        self._tails: set[following.Tail] = set()

    async def __aenter__(self) -> Self:
        """Connect. Raises `Unreachable` when there is no NATS server."""
        if self._own:
            await self._bus.__aenter__()
        self._bus.on_reconnect(self._nudge)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._own:
            await self._bus.__aexit__(*exc)

    # -- runs

    async def start(  # noqa: PLR0913 - a task has that many fields, all but two by keyword
        self,
        agent: str,
        input: Any = None,  # noqa: A002 - the word that the wire uses
        *,
        run_id: str | None = None,
        idempotency_key: str | None = None,
        correlation_id: str | None = None,
        budget: Budget | None = None,
        deadline: str | datetime | timedelta | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> api.RunAnswer:
        """Start a run; it is committed when this returns, whether or not a worker is there.

        `input` is anything msgspec can encode; a large one is uploaded first. `deadline` is an aware `datetime`, a `timedelta` from
        acceptance, or either as text (RFC 3339, ISO 8601 duration). The same `idempotency_key` (or `run_id`) again
        returns the first run with `duplicate`.

            run = await client.start("compliance", {"id": "c-1"}, budget=Budget(max_steps=50), deadline=timedelta(days=2))

        Raises `BadInput`, `Conflict` (the same key with another input), `TooLarge`.
        """
        value, ref = await self._requests.upload("input", input)
        request = api.RunsStart(
            agent=agent,
            input=value,
            input_ref=ref,
            run_id=run_id or uuid7(int(time.time() * 1000), os.urandom(10)),
            idempotency_key=idempotency_key,
            correlation_id=correlation_id,
            budget=task_budget(budget),
            deadline=deadline_text(deadline),
            labels=dict(labels or {}),
        )
        return await self.call("runs.start", request, api.RunAnswer)

    async def get(self, run_id: str) -> api.RunView:
        """A run as it is now: status, what it waits for, open calls, result. Raises `NotFound`.

        view = await client.get(run_id)
        print(view.status, view.waiting_for)
        """
        return await self.call("runs.get", api.RunRef(run_id=run_id), api.RunView)

    async def list(
        self,
        *,
        agent: str | None = None,
        status: RunStatus | str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int = 50,
        where: api.RunsList | None = None,
    ) -> builtins.list[api.RunView]:
        """The newest runs, at most `limit`, without states and results. `status` may be several, separated by commas.

        `where` has further filters: a search text, a parent, times, what needs attention.

            waiting = await client.list(agent="compliance", where=RunsList(needs_attention=True))
        """
        given = {"agent": agent, "status": str(status) if status is not None else None, "labels": dict(labels or {}) or None}
        request = replace(where or api.RunsList(), **{name: value for name, value in given.items() if value})
        return await listed(self._requests, request, limit)

    @overload
    async def result(self, run_id: str, *, timeout: float | timedelta | None = None) -> Any: ...  # noqa: ASYNC109
    @overload
    async def result(self, run_id: str, *, type: builtins.type[T], timeout: float | timedelta | None = None) -> T: ...  # noqa: ASYNC109
    async def result(self, run_id: str, *, type: Any = Any, timeout: float | timedelta | None = None) -> Any:  # noqa: A002, ASYNC109
        """Wait for the run to end and return its result, converted to `type`.

            decision = await client.result(run_id, type=Decision, timeout=timedelta(hours=1))

        Waiting costs nothing: the run's own events wake it. Raises `RunFailed` (with `.failure` and `.status`) when it failed or was
        cancelled, `TimeoutError` after `timeout` (the run goes on), `NotFound`.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        async with asyncio.timeout(seconds):
            view = await self._ended(parse_run_id(run_id))
        if view.status != RunStatus.COMPLETED:
            raise run_failed(view)
        if view.result_ref is not UNSET:
            return decode(type, await self._requests.download(view.result_ref))
        return decode(type, view.result if view.result is not UNSET else b"null")

    async def events(self, run_id: str, *, after: int = 0, follow: bool = False) -> AsyncGenerator[Event, None]:
        """The run's events with a seq above `after`, in order, each once. With `follow`, live until the run has ended.

            async for event in client.events(run_id, follow=True):
                print(event.seq, event.type)

        `event.data` is JSON as it is stored. Resume after a break with `after=` the last seq. Raises `NotFound`.
        """
        parsed = parse_run_id(run_id)
        if not follow:
            async with aclosing(following.pages(self._requests, parsed, after)) as committed:
                async for event in committed:
                    yield event
            return
        async with self._tail(parsed) as tail, aclosing(following.follow(self._requests, tail, parsed, after)) as live:
            async for event in live:
                yield event

    async def stream(self, run_id: str, *, after: int = 0) -> AsyncGenerator[Streamed, None]:
        """What models and graphs write for the run, as it arrives, until it has ended; answers recorded after event `after` come first.

            async for item in client.stream(run_id):
                if item.kind == "text":
                    print(item.text, end="")

        Pieces are a preview that may have gaps (`gap`) or become void (`restarted`); `answered` is the recorded answer, once, and replaces
        them. What a graph shows (`graph`) becomes final by `graph_saved`, or void by `graph_restarted`. A slow reader loses pieces and
        holds up nobody. Raises `NotFound`.
        """
        parsed = parse_run_id(run_id)
        tail = streaming.StreamTail(self._bus, self._subjects, parsed, self._tails)
        async with tail, aclosing(streaming.stream(self._requests, tail, parsed, after)) as items:
            async for item in items:
                yield item

    async def signal(self, run_id: str, name: str, payload: Any = None, *, by: str = "", request_id: str = "") -> api.RunAnswer:
        """Hand something from outside to a run; it gets it where it awaits `ctx.signal(name)`, even later.

            await client.signal(run_id, "documents-received", {"count": 3})

        Two calls are two signals unless they carry the same `request_id`. Raises `NotFound`, `Conflict` (the run has ended).
        """
        value, ref = await self._requests.upload("payload", payload)
        request = api.RunSignal(run_id=run_id, name=name, payload=value, payload_ref=ref, by=by, request_id=request_id or uuid.uuid4().hex)
        return await self.call("runs.signal", request, api.RunAnswer)

    async def pause(self, run_id: str, *, reason: str = "", by: str = "") -> api.RunAnswer:
        """Hold a run where it is; once this returns nothing queued takes effect. Raises `NotFound`, `Conflict`."""
        return await self.call("runs.pause", command(run_id, by, reason=reason), api.RunAnswer)

    async def resume(
        self,
        run_id: str,
        *,
        budget: Budget | None = None,
        extra: Budget | None = None,
        instruction: str = "",
        tools: ForkTools | None = None,
        by: str = "",
    ) -> api.RunAnswer:
        """Go on exactly where the run was paused: `budget` sets new limits, `extra` is added to those that are set, `instruction`
        is given to the agent (`ctx.instructions`), `tools` is how a fork's calls are answered from here on. Raises `NotFound`;
        `Conflict` if it would stop again at once."""
        request = command(run_id, by, budget=task_budget(budget), extra=task_budget(extra), instruction=instruction, tools=tools)
        return await self.call("runs.resume", request, api.RunAnswer)

    async def fork(  # noqa: PLR0913 - what a fork may change, all but two by keyword
        self,
        run_id: str,
        at: int,
        *,
        tools: ForkTools = "recorded",
        input: Any = UNSET,  # noqa: A002 - the word that the wire uses
        new_run_id: str | None = None,
        budget: Budget | None = None,
        deadline: str | datetime | timedelta | None = None,
        labels: Mapping[str, str] | None = None,
        by: str = "",
    ) -> api.RunAnswer:
        """A new run that begins with events 1 to `at` of `run_id` and goes on by itself; the answer names it.

            what_if = await client.fork(run_id, 1, input={"id": "c-1", "account": "a-8"})

        `tools` says what becomes of its calls after the fork point: `recorded` (answered with what the source was answered, nothing is
        executed, and it pauses at a call that the source never made), `deny`, or `live`. `input` goes with `at` 1. The same `new_run_id`
        again returns the first fork. Raises `NotFound`, `TooLarge`, `BadInput` (the event is not there, or inside a step).
        """
        value, ref = await self._requests.upload("input", input) if input is not UNSET else (UNSET, UNSET)
        chosen = new_run_id or uuid7(int(time.time() * 1000), os.urandom(10))
        limits, until = task_budget(budget), deadline_text(deadline)
        request = api.RunFork(
            run_id=run_id, at=at, tools=tools, input=value, input_ref=ref, new_run_id=chosen, budget=limits, deadline=until, by=by,
            labels=dict(labels or {})
        )  # fmt: skip
        return await self.call("runs.fork", request, api.RunAnswer)

    async def compare(self, run_id: str, other: str) -> Comparison:
        """Two runs step by step: what is the same, what differs, what only one of them did. Reads both logs. Raises `NotFound`."""
        return compare([e async for e in self.events(run_id)], [e async for e in self.events(other)])

    async def cancel(self, run_id: str, *, reason: str = "", by: str = "") -> api.RunAnswer:
        """End a run and its children; once this returns nothing queued takes effect. Raises `NotFound`, `Conflict`."""
        return await self.call("runs.cancel", command(run_id, by, reason=reason), api.RunAnswer)

    async def resolve(
        self,
        run_id: str,
        call_id: str,
        outcome: Literal["completed", "not_done", "failed"],
        *,
        result: Any = UNSET,
        reason: str = "",
        by: str = "",
    ) -> api.RunAnswer:
        """Settle a call in doubt: it took effect (with `result`), it surely did not, or it is given up.

            await client.resolve(run_id, "0:3", "completed", result="receipt-17", by="ann")

        Raises `NotFound` (no such open call), `Conflict` (it is not in doubt).
        """
        request = api.RunResolve(
            run_id=run_id,
            call_id=call_id,
            outcome=outcome,
            result=UNSET if result is UNSET else Raw(msgspec.json.encode(result)),
            reason=reason,
            by=by,
            request_id=uuid.uuid4().hex,
        )
        return await self.call("runs.resolve", request, api.RunAnswer)

    # -- approvals, definitions

    async def approvals(
        self, *, state: Literal["open", "all"] = "open", role: str | None = None, run_id: str | None = None
    ) -> builtins.list[api.ApprovalView]:
        """The approvals that wait for someone (or all), with the exact arguments they are bound to."""
        request = api.ApprovalsList(state=state, role=role, run_id=run_id)
        return (await self.call("approvals.list", request, api.ApprovalPage)).approvals

    async def approve(
        self, approval_id: str, *, by: str = "", roles: Sequence[str] = (), reason: str = "", args: Any = UNSET
    ) -> api.RunAnswer:
        """Let exactly the call run that the approval is bound to; with `args` (by name) it runs with these instead.

            for approval in await client.approvals(role="officer"):
                await client.approve(approval.approval_id, by="ann", roles=["officer"])

        `by` and `roles` are for installations without identities; of a client with a token they are known.
        Raises `NotFound`, `BadInput` (arguments that do not fit), `Denied` (not the role it asks for, or its own run), `Conflict`
        (decided, expired or withdrawn).
        """
        edited = UNSET if args is UNSET else Raw(encode(args))
        return await self._decide(api.ApprovalsDecide(**decision(approval_id, by, roles, reason), decision="approve", args=edited))

    async def deny(self, approval_id: str, *, by: str = "", roles: Sequence[str] = (), reason: str = "") -> api.RunAnswer:
        """Refuse the call (`ApprovalDenied` is raised in the agent's code) or decline to answer. Raises as `approve` does."""
        return await self._decide(api.ApprovalsDecide(**decision(approval_id, by, roles, reason), decision="deny"))

    async def answer(self, approval_id: str, answer: Any, *, by: str = "", roles: Sequence[str] = (), reason: str = "") -> api.RunAnswer:
        """Answer what an agent asks with `ctx.ask`; questions are listed with the approvals, with the JSON Schema of their answer.

        Raises `BadInput` that says what does not fit; the question stays open then. Otherwise as `approve`.
        """
        value = Raw(encode(answer))
        return await self._decide(api.ApprovalsDecide(**decision(approval_id, by, roles, reason), decision="answer", answer=value))

    async def agents(self, *, queues: bool = False) -> builtins.list[api.AgentView]:
        """The current definition of every agent, with its live workers, and (`queues`) what waits for them."""
        return (await self.call("agents.list", api.NameList(queues=queues), api.AgentPage)).agents

    async def tools(self, *, queues: bool = False) -> builtins.list[api.ToolView]:
        """Every tool, with its live gateways, and (`queues`) how many calls wait for them."""
        return (await self.call("tools.list", api.NameList(queues=queues), api.ToolPage)).tools

    async def call(self, endpoint: str, request: api.Request, answer: builtins.type[A]) -> A:
        """Any endpoint of `waypost.api.<noun>.<verb>`, for what has no method here (dead letters, redispatch).

        page = await client.call("dead.list", DeadList(), DeadPage)
        """
        return await self._requests.call(endpoint, request, answer)

    async def payload(self, ref: BlobRef) -> bytes:
        """The JSON bytes behind a reference (`result_ref`, `input_ref`, …). Raises `NotFound`."""
        return await self._requests.download(ref)

    def signed_by(self, signer: Signs | None) -> Self:
        """This client for somebody else: the same connection, with requests that `signer` signs (None: nobody).

        For services that ask in the name of their callers. It is good while this client is open, and need not be closed.
        """
        other = copy(self)
        other._own = False
        other._requests = self._requests.signed_by(signer)
        return other

    # -- how

    async def _decide(self, request: api.ApprovalsDecide) -> api.RunAnswer:
        return await self.call("approvals.decide", request, api.RunAnswer)

    async def _ended(self, run_id: RunId) -> api.RunView:
        """The view of the run once it has ended. Subscribed before it looks, so that the end cannot fall in between."""
        wait_seconds = following.POLL_SECONDS
        async with self._tail(run_id) as tail:
            while True:
                view = await self.get(run_id)
                if view.status in TERMINAL:
                    return view
                while (event := await tail.next(wait_seconds)) is not None and event.type not in TERMINAL_TYPES:
                    pass
                wait_seconds = min(wait_seconds * 2, MAX_POLL_SECONDS)

    def _tail(self, run_id: RunId) -> following.Tail:
        return following.Tail(self._bus, self._subjects, run_id, self._tails)

    def _nudge(self) -> None:
        for tail in self._tails:
            tail.nudge()
