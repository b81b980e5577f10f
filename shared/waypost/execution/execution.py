"""One run's coroutine in memory: fed with journal entries, it answers with items. Owns no I/O and no clock."""

from __future__ import annotations

import asyncio
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import UNSET, Raw, UnsetType
from msgspec.structs import replace

from waypost.context import Context
from waypost.execution.effects import EffectResult, LocalEffect, failure_of, text_of
from waypost.execution.engine import RunEngine
from waypost.execution.recording import Divergence, LocalResult, Recording
from waypost.function_agents import FunctionAgent
from waypost_core.loop import AgentSpins
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode_union, encode
from waypost_proto.commands import AnyItem
from waypost_proto.errors import BadInput, ContractError, NotFound
from waypost_proto.ids import CallId, RunId
from waypost_proto.taint import merged
from waypost_proto.values import BlobRef, Failure
from waypost_proto.work import Entry

_NO_BLOBS: Mapping[str, bytes] = {}
_TRACEBACK_CHARS = 4_000
_WITH_VALUE = frozenset(
    {
        "run_started",
        "tool_call_completed",
        "child_completed",
        "signal_received",
        "step_completed",
        "checkpoint_saved",
        "writes_saved",
        "step_recalled",
    }
)


def refs_of(entries: Sequence[Entry]) -> list[BlobRef]:
    """The large values of these entries that the code will need: fetch them and pass them as `blobs`."""
    refs: list[BlobRef] = []
    for entry in entries:
        if entry.type in _WITH_VALUE and b"_ref" in bytes(entry.data):
            data = decode_union(ev.AnyData, entry.data)
            found = [getattr(data, name, UNSET) for name in ("input_ref", "result_ref", "payload_ref", "state_ref", "writes_ref")]
            refs.extend(ref for ref in found if ref is not UNSET)
    return refs


def recalled_step(data: ev.StepRecalled, at: float = 0.0) -> LocalResult:
    """What the step would have recorded, had it run."""
    if data.error is not None:
        return ev.StepFailed(call_id=data.call_id, name=data.name, at=at, error=data.error, model=data.model)
    ref = data.result_ref
    return ev.StepCompleted(call_id=data.call_id, name=data.name, at=at, result=data.result, result_ref=ref, model=data.model)


class Execution:
    """One run of one agent: fed with journal entries, it answers with items (commands and local results).

    Every method is synchronous, runs the code until it waits, and must be called from the worker's thread, from a
    plain callback or from a task of the worker's own loop, never from inside the agent's code. None of them raises
    for what the agent's code does: that becomes `FailRun` or `ReportDivergence` items.

    `blobs` maps the SHA-256 of a claim-checked value to its bytes (`refs_of` says which); a missing one raises `NotFound`
    before anything else happened.
    """

    def __init__(
        self,
        agent: FunctionAgent[..., Any],
        run_id: RunId,
        *,
        correlation_id: str = "",
        tenant: str = "default",
        steps_left: int | None = None,
        start_effect: Callable[[LocalEffect], None],
    ) -> None:
        """`start_effect` is called outside the deterministic loop, at the end of `feed`, `replay`, `finish_effect` or `grant`."""
        self.finished = False
        """The code has returned or raised: `CompleteRun` or `FailRun` is among the items, nothing more will come."""
        self.diverged = False
        """Replay asked for something else than the journal holds; the only item is a `ReportDivergence`."""
        self._agent = agent
        self._start_effect = start_effect
        self._engine = RunEngine(agent, run_id, correlation_id, tenant, steps_left)
        self._blobs = _NO_BLOBS
        self._closed = False

    @property
    def seen(self) -> int:
        """Seq of the last outside event that the code was given."""
        return self._engine.seen

    @property
    def running(self) -> int:
        """Local effects handed to `start_effect` and not yet finished."""
        return self._engine.steps.running

    # -- what the worker tells

    def replay(self, journal: Sequence[Entry], seen: int, blobs: Mapping[str, bytes] | None = None) -> None:
        """Bring a new execution to where the journal ends. Call it at most once, before anything else.

        `journal` is every entry of `runs.journal`, `seen` the coordinator's. Code runs again, effects do
        not: recorded local results are taken from the journal, and only what the journal does not hold becomes items
        (a tail that was never accepted). Local steps without a recorded result are started as effects. Outside
        events past `seen` are then fed like new ones.
        """
        if self._engine.seen or self._engine.recording is not None:
            raise ContractError(f"run {self._engine.run_id}: replay comes first and once; make a new Execution")
        self._take_blobs(journal, blobs)
        recording = self._engine.recording = Recording(journal, seen)
        waiting = iter(recording.locals)
        local = next(waiting, None)
        for entry in recording.outside:
            while local is not None and local[1].seen < entry.seq:
                self._replay_local(*local)
                local = next(waiting, None)
            self._give(entry)
        while local is not None:
            self._replay_local(*local)
            local = next(waiting, None)
        self._end_replay(recording, seen)
        self.feed(recording.later, blobs)

    def feed(self, entries: Sequence[Entry], blobs: Mapping[str, bytes] | None = None) -> None:
        """Give the code new outside events, one after another, each until it is quiescent.

        Entries up to `seen` are skipped, so feeding twice has no effect.
        """
        self._take_blobs(entries, blobs)
        for entry in entries:
            if entry.seq > self._engine.seen and entry.type in ev.OUTSIDE:
                self._give(entry)
        self._settle_effects()

    def finish_effect(self, result: EffectResult) -> None:
        """A local effect ended: its `FinishStep` item comes first, then the commands that it caused.

        The result of an effect that is no longer wanted is dropped. Finishing one twice has no effect.
        """
        engine = self._engine
        name, asked = engine.steps.name_of(result.call_id), engine.steps.asked_of(result.call_id)
        future = engine.steps.settle(result.call_id)
        if future is None or future.done() or self._over:
            return
        at = max(result.at, engine.loop.time())
        engine.loop.advance_clock(at)
        value = result.result if result.result is not None else b"null"
        item = cmd.FinishStep(
            seen=engine.seen,
            id=result.call_id,
            name=name,
            at=at,
            duration_seconds=max(0.0, result.duration_seconds),
            result=Raw(value) if result.error is None else UNSET,
            error=result.error,
            usage=result.usage,
            fingerprint=result.fingerprint,
            model=result.model,
            asked=asked,
        )
        engine.items.append(item)
        data: LocalResult
        if result.error is None:
            data = ev.StepCompleted(call_id=item.id, name=name, at=at)
        else:
            data = ev.StepFailed(call_id=item.id, name=name, at=at, error=result.error)
        future.set_result((data, value))
        self._run()
        self._settle_effects()

    def metered(self, metered: bool, unfunded: Sequence[CallId] = ()) -> None:
        """What an activation says: whether steps that reserve tokens or cost must ask, and which local steps do not fit yet."""
        self._engine.steps.metered = metered
        self._engine.steps.unfunded = frozenset(unfunded)

    def grant(self, steps_left: int | None) -> None:
        """Replace the allowance by `Activation.steps_left` and start the local steps that asked for one.

        Only for an activation whose `base` is the digest after everything that was taken with `take_items`: the
        coordinator has then counted each step that was requested.
        """
        if not self._over:
            self._engine.steps.grant(steps_left)
            self._settle_effects()

    def take_items(self) -> list[AnyItem]:
        """What is new since the last call, in order, each with its `seen`. Values are inline whatever their size."""
        items, self._engine.items = self._engine.items, []
        self._engine.steps.taken()
        return items

    def close(self) -> None:
        """Mute and drop: no command, log line or effect comes from this run any more. Idempotent."""
        if not self._closed:
            self._closed = True
            self._engine.close()

    def __del__(self) -> None:
        # a safety net: Python would run the code's `finally` blocks at another time, on another loop, and not muted
        if not getattr(self, "_closed", True):
            self.close()

    # -- one entry, one slice

    @property
    def _over(self) -> bool:
        return self.finished or self.diverged or self._closed

    def _give(self, entry: Entry) -> None:
        if self._over:
            return
        engine = self._engine
        data = decode_union(ev.AnyData, entry.data)
        engine.seen = entry.seq
        engine.loop.advance_clock(entry.at)
        taint = getattr(data, "taint", ())
        if taint:
            engine.taint = merged(engine.taint, taint)
        if isinstance(data, ev.ToolCallCompleted | ev.ToolCallFailed) and data.edit is not None:
            engine.note_edit(data.call_id, data.tool, data.edit)
        match data:
            case ev.QuestionAnswered():
                engine.settle(data.call_id, data, b"null" if data.answer is UNSET else bytes(data.answer))
            case ev.QuestionUnanswered():
                engine.settle(data.call_id, data, b"null")
            case ev.ToolCallCompleted() | ev.ChildCompleted():
                engine.settle(data.call_id, data, self._value(data.result, data.result_ref))
            case ev.ToolCallFailed() | ev.ChildFailed():
                engine.settle(data.call_id, data, b"null")
            case ev.TimerFired():
                engine.loop.fire_timer(data.call_id)
            case ev.StepRecalled():
                self._recall(data)
            case _:
                self._tell(data, entry)
        self._run()

    def _tell(self, data: ev.AnyData, entry: Entry) -> None:
        """What is no answer to a call."""
        engine = self._engine
        match data:
            case ev.InstructionAdded():
                engine.instructions.append(data.text)
            case ev.SignalReceived():
                engine.receive(data.name, self._value(data.payload, data.payload_ref))
            case ev.RunForked() | ev.ForkToolsChanged():
                engine.go_on_as(data.identity, recalls=data.tools != "live")
            case ev.RunStarted():
                engine.begin_as(data.fork)
                self._start(self._value(data.input, data.input_ref))
            case _:
                raise ContractError(f"event {entry.seq} ({entry.type}) is not one that an agent's code is given")

    def _recall(self, data: ev.StepRecalled) -> None:
        """A local step has its source's result, and does not run."""
        future = self._engine.steps.settle(data.call_id)
        if future is not None and not future.done():
            future.set_result((recalled_step(data), self._value(data.result, data.result_ref)))

    def _start(self, body: bytes) -> None:
        try:
            coroutine = self._agent.start(Context(self._engine), body)
        except BadInput as error:
            self._finish(cmd.FailRun(seen=self._engine.seen, error=Failure(type="InputInvalid", message=str(error))))
        except TypeError as error:
            self._finish(cmd.FailRun(seen=self._engine.seen, error=failure_of(error)))
        else:
            done = weakref.WeakMethod(self._root_done)  # nothing of the run refers to us: dropping us closes it

            def root_done(root: asyncio.Task[Any]) -> None:
                method = done()
                if method is not None:
                    method(root)

            self._engine.loop.start(coroutine).add_done_callback(root_done)

    def _run(self) -> None:
        engine = self._engine
        try:
            engine.loop.run_until_quiescent()
        except AgentSpins as error:
            self._finish(cmd.FailRun(seen=engine.seen, error=failure_of(error)))
        if engine.recording is not None and engine.recording.divergence is not None and not self.diverged:
            self._diverge(engine.recording.divergence)
        elif self.finished:
            self.close()

    def _root_done(self, root: asyncio.Task[Any]) -> None:
        seen = self._engine.seen
        ending: cmd.CompleteRun | cmd.FailRun
        if root.cancelled():
            ending = cmd.FailRun(seen=seen, error=Failure(type="CancelledError", message="the agent's code cancelled itself"))
        elif (error := root.exception()) is not None:
            ending = cmd.FailRun(seen=seen, error=_failure_with_traceback(error))
        else:
            try:
                ending = cmd.CompleteRun(seen=seen, result=Raw(self._agent.encode_result(root.result())))
            except BadInput as unfit:
                ending = cmd.FailRun(seen=seen, error=Failure(type="ResultNotEncodable", message=text_of(str(unfit))))
        self._finish(ending)

    def _finish(self, ending: cmd.CompleteRun | cmd.FailRun) -> None:
        self._engine.issue_ending(ending)
        self.finished = True

    def _settle_effects(self) -> None:
        if not self._over:
            self._engine.steps.flush(self._start_effect)

    # -- replay

    def _replay_local(self, seq: int, data: LocalResult) -> None:
        if self.diverged or (self._closed and not self.finished):
            return
        future = None if self.finished else self._engine.steps.settle(data.call_id)
        if future is None:
            expected = f"the result of local step {data.call_id} {data.name!r} (event {seq})"
            found = "code that has ended by then" if self.finished else "code that is not waiting for it at that point"
            self._diverge(Divergence(expected=expected, found=found))
            return
        self._engine.loop.advance_clock(data.at)
        value = self._value(data.result, data.result_ref) if isinstance(data, ev.StepCompleted) else b"null"
        if not future.done():
            future.set_result((data, value))
        self._run()

    def _end_replay(self, recording: Recording, seen: int) -> None:
        if self.diverged:
            return
        recording.check_complete()
        if recording.divergence is not None:
            self._diverge(recording.divergence)
            return
        engine = self._engine
        engine.recording = None
        # the coordinator takes no item that has seen less than it knows of; for commands `seen` orders nothing
        engine.items.extend(replace(item, seen=max(item.seen, seen)) for item in recording.tail())
        for item in engine.items:
            if isinstance(item, cmd.CallTool | cmd.StartChild):
                engine.steps.spend()
        if not self.finished:
            engine.steps.release(recording.requested_steps)

    def _diverge(self, difference: Divergence) -> None:
        self.diverged = True
        self.finished = False
        self.close()
        recording = self._engine.recording
        # like every item of a replay: the coordinator takes none that has seen less than it knows of, wherever the difference lies
        seen = self._engine.seen if recording is None else max(self._engine.seen, recording.seen)
        report = cmd.ReportDivergence(seen=seen, expected=difference.expected, found=difference.found)
        self._engine.items = [report]

    # -- large values

    def _take_blobs(self, entries: Sequence[Entry], blobs: Mapping[str, bytes] | None) -> None:
        self._blobs = blobs or _NO_BLOBS
        for ref in refs_of(entries):
            if ref.sha256 not in self._blobs:
                raise NotFound(f"run {self._engine.run_id}: the value {ref.sha256} ({ref.size} bytes) was not passed in `blobs`")

    def _value(self, value: Raw | UnsetType, ref: BlobRef | UnsetType) -> bytes:
        if ref is not UNSET:
            return self._blobs[ref.sha256]
        return b"null" if value is UNSET else bytes(value)


def _failure_with_traceback(error: BaseException) -> Failure:
    failure = failure_of(error)
    try:
        text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    except Exception:  # noqa: BLE001 - it shows the user's objects, which may fail in any way
        return failure
    return replace(failure, details=Raw(encode({"traceback": text_of(text)})))
