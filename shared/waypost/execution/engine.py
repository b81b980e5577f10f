"""What stands behind an agent's `Context`: turns what the code asks for into items, and what is recorded into results.

Everything here runs inside the deterministic loop. While `recording` is set the code is being replayed, and what it asks for
is compared with the journal instead of being sent.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from msgspec import UNSET, Raw

from waypost.agents import Agent
from waypost.context import ArgumentEdit
from waypost.conversion import decode_value, encode_value, schema_of
from waypost.errors import ApprovalDenied, StepFailed, ToolDenied, ToolError, ToolFailed, Unanswered
from waypost.execution.children import ChildHandle, Outcome
from waypost.execution.effects import LocalEffect
from waypost.execution.recording import Recording
from waypost.execution.steps import LocalSteps
from waypost.metering import Usage
from waypost.options import Seconds, seconds_of
from waypost.run_log import RunLog
from waypost.targets import Target
from waypost.tools import Tool
from waypost_core.loop import DeterministicLoop
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.errors import BadInput, ContractError
from waypost_proto.forks import ForkOrigin
from waypost_proto.ids import CallId, RunId
from waypost_proto.limits import CLAIM_CHECK_BYTES, MAX_KEY_CHARS, MAX_QUESTION_CHARS
from waypost_proto.values import Edit, Failure

_DENIED = {"ToolDenied", "Denied", "ToolRefused"}
_APPROVAL_DENIED = {"ApprovalDenied", "ApprovalExpired", "ApprovalInvalid"}


class RunEngine:
    """One run's side of `waypost.context.Engine` and of `LoopHooks`."""

    def __init__(self, agent: Agent[..., Any], run_id: RunId, correlation_id: str, tenant: str, steps_left: int | None) -> None:
        self.agent = agent
        self.run_id = run_id
        self.identity = run_id
        """What everything is derived from that the code sees of a run id; of a fork at first its source's."""
        self.recalls = False
        """It is a fork that does not go live: local steps are answered from its source where they can be."""
        self.correlation_id = correlation_id
        self.tenant = tenant
        self.taint: tuple[str, ...] = ()
        self.seen = 0
        self.items: list[cmd.AnyItem] = []
        self.recording: Recording | None = None
        self.loop = DeterministicLoop(self, seed=run_id)  # type: ignore[abstract]  # what is abstract raises
        self.log = RunLog(self._is_silent, run_id=run_id, agent=agent.name, correlation_id=correlation_id)
        self.steps = LocalSteps(steps_left, self._request_step)
        self.instructions: list[str] = []
        self._pending: dict[CallId, asyncio.Future[Outcome]] = {}
        self._signals: dict[str, deque[bytes]] = {}
        self._waits: dict[str, dict[CallId, asyncio.Future[bytes]]] = {}
        self._randoms: dict[str, random.Random] = {}
        self._uuids: dict[str, int] = {}
        self._edits: list[ArgumentEdit] = []

    def close(self) -> None:
        """The run is over here: close its code, want no effect, say nothing more. Nothing that is left refers back to this. Idempotent."""
        self.loop.close()
        self.steps.drop_all()
        self.log.mute()

    def begin_as(self, fork: ForkOrigin | None) -> None:
        """Before the code begins. That of a fork is replayed as the code of another run, whose events these are."""
        if fork is not None:
            self.identity = fork.identity
            self.loop.reseed(fork.identity)

    def go_on_as(self, identity: RunId, *, recalls: bool) -> None:
        """From here on: new identities are new, the ones that were given stay."""
        self.recalls = recalls
        if identity != self.identity:
            self.identity = identity
            for path, generator in self._randoms.items():
                generator.seed(f"{identity}/{path}")

    # -- what happened outside

    def settle(self, call_id: CallId, outcome: object, value: bytes) -> None:
        """A call or child ended. Nobody may wait for it any more: then it has no effect."""
        future = self._pending.pop(call_id, None)
        if future is not None and not future.done():
            future.set_result((outcome, value))

    def receive(self, name: str, payload: bytes) -> None:
        """A signal arrived: the oldest wait for its name gets it, or it is kept until somebody asks."""
        waits = self._waits.get(name)
        while waits:
            future = waits.pop(next(iter(waits)))
            if not future.done():
                future.set_result(payload)
                return
        self._signals.setdefault(name, deque()).append(payload)

    # -- what the code asks for (waypost.context.Engine)

    def call(self, target: Target[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Awaitable[Any]:
        self._check_inside("ctx.call")
        if isinstance(target, Tool):
            return self._call_tool(target, args, kwargs)
        child = self._start_child(target, args, kwargs)
        return child.awaited()

    def start(self, target: Target[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ChildHandle:
        self._check_inside("ctx.start")
        if isinstance(target, Tool):
            raise TypeError(f"ctx.start is for agents; call the tool {target.name!r} with ctx.call, in a task if it shall run beside")
        return self._start_child(target, args, kwargs)

    async def step(
        self,
        name: str,
        returns: Any,
        run: Callable[[], Awaitable[bytes]],
        reserve: Usage | None = None,
        *,
        asked: str | Callable[[], str] = "",
        model: bool = False,
    ) -> Any:
        self._check_inside("ctx.step")
        call_id = CallId(self.loop.next_id())
        future: asyncio.Future[Outcome] = self.loop.create_future()
        effect = LocalEffect(call_id, name, run, None if reserve is None else reserve.to_wire(), asked=asked, model=model)
        recording = self.recording
        if recording is None:
            self.steps.admit(effect, future)
        else:
            recording.step_issued(call_id, name)
            self._check_diverged(recording)
            self.steps.hold(effect, future)
        try:
            result, value = await future
        except asyncio.CancelledError:
            known = self.recording.requested_steps if self.recording is not None else ()
            if self.steps.cancel(call_id, known):
                self._issue(cmd.CancelCall(seen=self.seen, target=call_id))
            raise
        if isinstance(result, ev.StepFailed):
            raise StepFailed(name, call_id, result.error)
        return decode_value(f"the result of step {name!r}", returns, value)

    async def signal(self, name: str, kind: Any) -> Any:
        self._check_inside("ctx.signal")
        if not 0 < len(name) <= MAX_KEY_CHARS:
            raise BadInput(f"signal name {name!r}: use 1 to {MAX_KEY_CHARS} characters")
        call_id = CallId(self.loop.next_id())
        self._issue(cmd.AwaitSignal(seen=self.seen, id=call_id, name=name))
        kept = self._signals.get(name)
        payload = kept.popleft() if kept else await self._next_signal(name, call_id)
        return decode_value(f"the payload of signal {name!r}", kind, payload)

    async def _next_signal(self, name: str, call_id: CallId) -> bytes:
        future: asyncio.Future[bytes] = self.loop.create_future()
        waits = self._waits.setdefault(name, {})
        waits[call_id] = future
        try:
            return await future
        except asyncio.CancelledError:
            if waits.pop(call_id, None) is not None:
                self._issue(cmd.CancelCall(seen=self.seen, target=call_id))
            elif future.done() and not future.cancelled():
                self._return_signal(name, future.result())  # it came in the very moment of the cancellation
            raise

    def _return_signal(self, name: str, payload: bytes) -> None:
        if self._waits.get(name):
            self.receive(name, payload)
        else:
            self._signals.setdefault(name, deque()).appendleft(payload)

    async def ask(self, role: str, question: str, kind: Any, expires: Seconds) -> Any:
        self._check_inside("ctx.ask")
        if not 0 < len(role) <= MAX_KEY_CHARS:
            raise BadInput(f"role {role!r}: use 1 to {MAX_KEY_CHARS} characters")
        if not 0 < len(question) <= MAX_QUESTION_CHARS:
            raise BadInput(f"the question has {len(question)} characters: use 1 to {MAX_QUESTION_CHARS}")
        seconds = seconds_of("ctx.ask(expires=…)", expires)
        schema = UNSET if kind is Any else schema_of("the answer", kind)
        call_id = CallId(self.loop.next_id())
        self._issue(
            cmd.AskQuestion(seen=self.seen, id=call_id, role=role, question=question, expires_seconds=seconds, answer_schema=schema)
        )
        future: asyncio.Future[Outcome] = self.loop.create_future()
        self._pending[call_id] = future
        outcome, value = await self._await(call_id, future)
        if isinstance(outcome, ev.QuestionUnanswered):
            raise Unanswered(role, outcome.question_id, outcome.error)
        return decode_value(f"the answer of {role!r}", kind, value)

    def edits(self) -> list[ArgumentEdit]:
        return list(self._edits)

    def note_edit(self, call_id: CallId, tool: str, edit: Edit) -> None:
        """A call has ended whose arguments a person had changed."""
        arguments = None if edit.args is UNSET else decode_value("edited arguments", dict[str, Any], edit.args)
        self._edits.append(ArgumentEdit(tool=tool, call_id=call_id, by=edit.by, reason=edit.reason, arguments=arguments))

    def set_state(self, value: object) -> None:
        self._check_inside("ctx.set_state")
        body = encode_value("the state", value)
        if len(body) > CLAIM_CHECK_BYTES:
            raise BadInput(f"the state is {len(body)} bytes of JSON, the limit is {CLAIM_CHECK_BYTES}: show a summary")
        self._issue(cmd.SetState(seen=self.seen, value=Raw(body)))

    def time(self) -> float:
        return self.loop.time()

    def random(self) -> random.Random:
        self._check_inside("ctx.random")
        path = self._path()
        generator = self._randoms.get(path)
        if generator is None:
            generator = self._randoms[path] = random.Random(f"{self.identity}/{path}")  # noqa: S311 - deterministic on purpose
        return generator

    def uuid(self) -> uuid.UUID:
        self._check_inside("ctx.uuid")
        path = self._path()
        number = self._uuids[path] = self._uuids.get(path, 0) + 1
        digest = hashlib.sha256(f"{self.identity}/uuid/{path}/{number}".encode()).digest()
        return uuid.UUID(bytes=digest[:16], version=4)

    # -- tools and children

    async def _call_tool(self, tool: Tool[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self.agent.allows_tool(tool.name):
            raise ToolDenied(tool.name, "not called", self._not_listed(tool.name, "tools=[…]"))
        body = tool.bind(*args, **kwargs)
        options = tool.options
        call_id = CallId(self.loop.next_id())
        command = cmd.CallTool(
            seen=self.seen,
            id=call_id,
            tool=tool.name,
            args=Raw(body),
            timeout_seconds=options.timeout_seconds,
            retry=options.retry,
            approval=options.approval.to_wire() if options.approval is not None else None,
            reserve=options.reserve.to_wire() if options.reserve is not None else None,
        )
        outcome, value = await self._await(call_id, self._request(call_id, command))
        if isinstance(outcome, ev.ToolCallFailed):
            raise _tool_error(tool.name, call_id, outcome.error)
        return decode_value(f"the result of tool {tool.name!r}", tool.returns, value)

    def _start_child(self, target: Target[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> ChildHandle:
        if not isinstance(target, Agent):
            raise TypeError(f"{target!r} is neither a tool nor an agent; run a plain function with ctx.step")
        if not self.agent.allows_agent(target.name):
            raise ToolDenied(target.name, "not called", self._not_listed(target.name, "agents=[…]"))
        body = target.bind(*args, **kwargs)
        call_id = CallId(self.loop.next_id())
        command = cmd.StartChild(
            seen=self.seen,
            id=call_id,
            agent=target.name,
            input=Raw(body),
            budget=target.options.budget,
            timeout_seconds=target.options.timeout_seconds,
        )
        return ChildHandle(self, target, call_id, self._request(call_id, command))

    def _not_listed(self, name: str, where: str) -> Failure:
        message = f"agent {self.agent.name!r} may not call {name!r}: add it to its {where}"
        return Failure(type="ToolDenied", message=message)

    def _request(self, call_id: CallId, command: cmd.CallTool | cmd.StartChild) -> asyncio.Future[Outcome]:
        self._issue(command)
        self.steps.spend()
        future: asyncio.Future[Outcome] = self.loop.create_future()
        self._pending[call_id] = future
        return future

    async def _await(self, call_id: CallId, future: asyncio.Future[Outcome]) -> Outcome:
        try:
            return await future
        except asyncio.CancelledError:
            self.abandon(call_id)
            raise

    def abandon(self, call_id: CallId) -> bool:
        """The code no longer waits for a call or child. False if its outcome was there before."""
        if self._pending.pop(call_id, None) is None:
            return False
        self._issue(cmd.CancelCall(seen=self.seen, target=call_id))
        return True

    # -- LoopHooks

    def start_timer(self, timer_id: str, fire_at: float) -> None:
        self._issue(cmd.StartTimer(seen=self.seen, id=CallId(timer_id), fire_at=fire_at))

    def cancel_timer(self, timer_id: str) -> None:
        self._issue(cmd.CancelCall(seen=self.seen, target=CallId(timer_id)))

    def unhandled(self, context: dict[str, Any]) -> None:
        if not self._is_silent() and not isinstance(context.get("exception"), asyncio.CancelledError):
            structlog.get_logger("waypost.agent").warning(
                "unhandled error in the agent's code",
                run_id=self.run_id,
                agent=self.agent.name,
                what=context.get("message"),
                error=repr(context.get("exception")),
            )

    # -- inside

    def issue_ending(self, item: cmd.CompleteRun | cmd.FailRun) -> None:
        """The code is through: its last item, after which it is muted."""
        self._issue(item)
        self.loop.halt()

    def _issue(self, item: cmd.AnyItem) -> None:
        recording = self.recording
        if self.loop.muted:
            self.loop.refuse()
        elif recording is None:
            self.items.append(item)
        else:
            recording.issued(item)
            self._check_diverged(recording)

    def _check_diverged(self, recording: Recording) -> None:
        if recording.divergence is not None:
            self.loop.halt()
            self.loop.refuse()

    def _request_step(self, effect: LocalEffect) -> None:
        asked = effect.asks() if self.recalls else effect.asked
        item = cmd.RequestStep(
            seen=self.seen,
            id=effect.call_id,
            name=effect.name,
            reserve=effect.reserve,
            attempt=effect.attempt,
            asked=asked,
            model=effect.model,
        )
        self._issue(item)

    def _check_inside(self, what: str) -> None:
        if self.loop.in_slice:
            if self.loop.muted:
                self.loop.refuse()
        else:
            raise ContractError(
                f"{what} was used outside the agent's own code (in a function that ctx.step runs, in a thread, or in another "
                "run): the context belongs to the `async def` of its run"
            )

    def _path(self) -> str:
        task = self.loop.current()
        return task.path if task is not None else "x"

    def _is_silent(self) -> bool:
        return self.recording is not None or self.loop.muted


def _tool_error(tool: str, call_id: CallId, failure: Failure) -> ToolError:
    if failure.type in _APPROVAL_DENIED:
        return ApprovalDenied(tool, call_id, failure)
    kind = ToolDenied if failure.type in _DENIED else ToolFailed
    return kind(tool, call_id, failure)


__all__ = ["ChildHandle", "RunEngine"]
