"""A worker's advance: accepted only on the journal that the run has, then each item becomes its event.

The digest chain is the fence (CORRECTNESS.md row 4): two workers that were given the same activation both answer on the same base, the
first is accepted, the second no longer fits. The token decides nothing here: a matching answer from an older token is kept,
because what was paid for is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from waypost_core.budgets import NOTHING, UNBOUND, Amount, lease_of, reserved
from waypost_core.checkpoints import saved
from waypost_core.decision import Decision
from waypost_core.ending import end
from waypost_core.local_steps import finished
from waypost_core.messages import Env
from waypost_core.playing import AT_ONCE, child_denied, holds_step, question_denied, tool_denied
from waypost_core.state import Call, Ending, RunState, Stage
from waypost_core.timing import LATEST
from waypost_core.tool_mail import approval_id
from waypost_core.watching import Watch, circling
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage
from waypost_proto.ids import CallId, chain_digest, child_run_id, digest_of, idempotency_key
from waypost_proto.limits import MAX_ITEMS_PER_ADVANCE
from waypost_proto.mailbox import Advance
from waypost_proto.usage import Usage
from waypost_proto.values import Failure, Mark, RunStatus

_ITEMS = list[cmd.AnyItem]


def advance(state: RunState, message: Advance, env: Env) -> Decision:
    """The events of an advance, or why it is rejected. A repeat of the last accepted one is confirmed again."""
    items_bytes = bytes(message.items)
    empty = items_bytes == b"[]"
    digest = message.base if empty else chain_digest(message.base, items_bytes)
    if state.terminal or state.ending is not None:
        return _repeated(state, digest) or Decision(rejected="ended")
    if message.base != state.digest:
        return _repeated(state, digest) or Decision(rejected="another journal")
    if message.seen > state.outside:
        return Decision(rejected=f"it has seen event {message.seen}, the log ends at {state.outside}")
    mark = Mark(digest=digest, seen=message.seen, running=message.running, worker=message.worker, build=message.build)
    if empty:
        return Decision(events=_read_further(state, mark), accepted=(digest, message.seen))
    try:
        items: list[cmd.AnyItem] = decode(_ITEMS, message.items)
        turn = _Turn(state, env, message.build, message.running)
        turn.take(items)
    except BadMessage as error:
        return Decision(rejected=str(error))
    if turn.diverged:
        # who reports it runs nothing; the step that was in flight is lost, and only a run that has one gets a worker again at its resume.
        # The run stays with the build and the worker that its journal is from: this one's code does not fit
        mark = msgspec.structs.replace(mark, worker="", build="", running=max(message.running, state.running))
    return Decision(events=_marked(turn.events, mark), accepted=(digest, message.seen), look=turn.look)


def _repeated(state: RunState, digest: str) -> Decision | None:
    """The advance that the run already has as its last."""
    if digest == state.digest and digest:
        return Decision(accepted=(digest, state.seen))
    return None


def _read_further(state: RunState, mark: Mark) -> list[ev.Data]:
    """Nothing new but how far the worker has read. One that had read less than is known says nothing about now: it is late."""
    if mark.seen < state.seen:
        return []
    same = mark.seen <= state.seen and mark.running == state.running and mark.worker == state.worker
    return [] if same else [ev.RunAdvanced(seen=mark.seen, mark=mark)]


def _marked(events: list[ev.Data], mark: Mark) -> list[ev.Data]:
    """Put the mark on the last event that came from the worker; add one if there is none."""
    for index in range(len(events) - 1, -1, -1):
        event = events[index]
        if isinstance(event, ev.FromWorker):
            events[index] = msgspec.structs.replace(event, mark=mark)
            return events
    return [ev.RunAdvanced(seen=mark.seen, mark=mark), *events]


class _Turn:
    """One pass over the items of an advance: the events so far, and what they change that later items depend on."""

    def __init__(self, state: RunState, env: Env, build: str, running: int) -> None:
        self.state = state
        self.env = env
        self.events: list[ev.Data] = []
        self.opened: dict[CallId, Call] = {}
        self.closed: set[CallId] = set()
        self.seen = state.seen
        self.definition = env.agent(state.agent, build)
        self.diverged = False
        self.watch = Watch(state, self.definition, running)
        self.look = False
        self.ended = False
        self.plays = state.plays
        self.denies = self.plays and not state.taped

    def take(self, items: list[cmd.AnyItem]) -> None:
        """All items in order. Raises `BadMessage` when one contradicts the journal or another."""
        if len(items) > MAX_ITEMS_PER_ADVANCE:
            raise BadMessage(f"{len(items)} items in one advance, the limit is {MAX_ITEMS_PER_ADVANCE}")
        for item in items:
            if not self.seen <= item.seen <= self.state.outside:
                raise BadMessage(f"item has seen event {item.seen}, expected {self.seen} to {self.state.outside}")
            self.seen = item.seen
            _TAKE[type(item)](self, item)
        self.look = self.watch.look
        if self.watch.found is not None and not self.state.paused and not self.ended:
            self.events.extend(circling(self.watch.found, self.state.budget))

    def afford(self, reserve: Amount, *, step: bool = True) -> bool:
        """Take it from the budget. What a fork does not execute costs nothing."""
        return self.plays or self.watch.take(reserve, step=step)

    def open(self, call_id: CallId) -> Call | None:
        """The call as it is after the items so far."""
        return None if call_id in self.closed else self.opened.get(call_id) or self.state.calls.get(call_id)

    @property
    def next_seq(self) -> int:
        """What the next event's seq will be."""
        return self.state.seq + len(self.events) + 1

    def check_new(self, call_id: CallId) -> None:
        """Raises `BadMessage` for a call that is open already."""
        if self.open(call_id) is not None:
            raise BadMessage(f"call id {call_id!r} is already open")

    def add_call(self, call_id: CallId, call: Call, event: ev.Data) -> None:
        self.check_new(call_id)
        self.opened[call_id] = call
        self.events.append(event)


def _call_tool(turn: _Turn, item: cmd.CallTool) -> None:
    state, tool = turn.state, turn.env.tools.get(item.tool)
    ref = item.args_ref is not UNSET
    digest = item.args_ref.sha256 if item.args_ref is not UNSET else digest_of(bytes(item.args) if item.args is not UNSET else b"")
    reserve = item.reserve or (tool.reserve if tool else None)
    turn.check_new(item.id)
    unfunded = not turn.afford(reserved(reserve))
    turn.watch.called(item.tool, digest, turn.next_seq)
    call = Call(kind="tool", seq=0, sent=0, name=item.tool, effect=tool.effect if tool else None, unfunded=unfunded)
    call.stage = "tape" if turn.plays else "sent"
    turn.add_call(
        item.id,
        call,
        ev.ToolCallRequested(
            seen=item.seen,
            call_id=item.id,
            tool=item.tool,
            args=UNSET if ref else item.args,
            args_ref=item.args_ref,
            args_digest=digest,
            idempotency_key=idempotency_key(state.run_id, item.id),
            effect=tool.effect if tool else None,
            timeout_seconds=item.timeout_seconds or (tool.timeout_seconds if tool else None),
            retry=item.retry or (tool.retry if tool else None),
            approval=item.approval,
            reserve=reserve,
            unfunded=unfunded,
            because=item.because,
        ),
    )
    if turn.definition is not None and item.tool not in turn.definition.tools:
        message = f"agent {state.agent} may not call {item.tool}: it is not in its tools=[…]"
        _close(
            turn, item.id, ev.ToolCallFailed(call_id=item.id, tool=item.tool, attempt=0, error=Failure(type="ToolDenied", message=message))
        )
    elif turn.plays:
        if turn.denies:
            _close(turn, item.id, tool_denied(item.id, item.tool))
    elif item.approval is not None:
        call.approval_id, call.stage = approval_id(state, item.id), "approval"
        turn.events.append(
            ev.ApprovalRequested(
                approval_id=call.approval_id,
                call_id=item.id,
                tool=item.tool,
                args_digest=digest,
                role=item.approval.role,
                expires_at=turn.env.now + item.approval.expires_seconds,
                reason=item.approval.reason,
                quorum=item.approval.quorum,
                escalate_to=item.approval.escalate_to,
                escalate_seconds=item.approval.escalate_seconds,
                terms=f"{item.approval.role}*{item.approval.quorum}",
            )
        )


def _start_child(turn: _Turn, item: cmd.StartChild) -> None:
    state = turn.state
    deadline = state.deadline_at
    if item.timeout_seconds is not None:
        deadline = min(deadline or LATEST, turn.env.now + item.timeout_seconds)
    child = child_run_id(state.identity, item.id)
    turn.check_new(item.id)
    unfunded = not turn.afford(NOTHING)
    lease = UNBOUND if unfunded or turn.plays else turn.watch.lend(item.agent, item.budget, turn.env)
    digest = item.input_ref.sha256 if item.input_ref is not UNSET else digest_of(bytes(item.input) if item.input is not UNSET else b"")
    turn.watch.called(item.agent, digest, turn.next_seq)
    event = ev.ChildRequested(
        seen=item.seen,
        call_id=item.id,
        child_agent=item.agent,
        child_run_id=child,
        input=item.input,
        input_ref=item.input_ref,
        budget=item.budget,
        deadline_at=deadline,
        lease=None if lease == UNBOUND else lease_of(lease),
        unfunded=unfunded,
        because=item.because,
    )
    opened = Call(kind="child", seq=0, sent=0, name=item.agent, child=child, unfunded=unfunded, stage="tape" if turn.plays else "sent")
    turn.add_call(item.id, opened, event)
    known = turn.definition
    if turn.denies:
        _close(turn, item.id, child_denied(item.id, item.agent, child))
    elif known is not None and item.agent != state.agent and item.agent not in known.agents:
        message = f"agent {state.agent} may not start {item.agent}: it is not in its tools=[…] or agents=[…]"
        error = Failure(type="ToolDenied", message=message)
        failed = ev.ChildFailed(call_id=item.id, child_run_id=child, status=RunStatus.FAILED, error=error, usage=Usage())
        _close(turn, item.id, failed)


def _start_timer(turn: _Turn, item: cmd.StartTimer) -> None:
    event = ev.TimerStarted(seen=item.seen, call_id=item.id, fire_at=item.fire_at)
    turn.add_call(item.id, Call(kind="timer", seq=0, sent=0, stage="set"), event)


def _await_signal(turn: _Turn, item: cmd.AwaitSignal) -> None:
    event = ev.SignalAwaited(seen=item.seen, call_id=item.id, name=item.name)
    turn.add_call(item.id, Call(kind="signal", seq=0, sent=0, stage="set", name=item.name), event)


def _ask_question(turn: _Turn, item: cmd.AskQuestion) -> None:
    question_id = approval_id(turn.state, item.id)
    event = ev.QuestionAsked(
        seen=item.seen,
        call_id=item.id,
        question_id=question_id,
        role=item.role,
        question=item.question,
        expires_at=min(LATEST, turn.env.now + item.expires_seconds),
        answer_schema=item.answer_schema,
    )
    stage: Stage = "tape" if turn.plays else "approval"
    turn.add_call(item.id, Call(kind="ask", seq=0, sent=0, stage=stage, name=item.role, approval_id=question_id), event)
    if turn.denies:
        _close(turn, item.id, question_denied(item.id, question_id))


def _request_step(turn: _Turn, item: cmd.RequestStep) -> None:
    """A step, or one that another worker may have begun: then what was held for that is spent, and it is reserved again."""
    before = turn.open(item.id)
    again = before is not None and before.kind == "step" and item.attempt > before.attempt
    if not again:
        turn.check_new(item.id)
    began = before is not None and not before.unfunded
    if before is not None and began:
        turn.watch.lost(before.reserve)
    held = turn.plays and holds_step(turn.state, item, turn.env.tape)
    unfunded = not held and not turn.watch.take(reserved(item.reserve), step=not began)
    turn.watch.worked(turn.next_seq)
    event = ev.StepRequested(
        seen=item.seen,
        call_id=item.id,
        name=item.name,
        reserve=item.reserve,
        attempt=item.attempt,
        unfunded=unfunded,
        asked=item.asked,
        held=held,
    )
    turn.opened[item.id] = Call(kind="step", seq=0, sent=0, name=item.name, attempt=item.attempt, unfunded=unfunded)
    turn.events.append(event)


def _cancel_call(turn: _Turn, item: cmd.CancelCall) -> None:
    """What is settled already leaves no event: its answer is in the log, the code had not seen it yet."""
    call = turn.open(item.target)
    if call is None or call.abandoned:
        return
    if call.kind == "timer":
        _close(turn, item.target, ev.TimerCancelled(seen=item.seen, call_id=item.target))
    elif call.kind == "signal":
        _close(turn, item.target, ev.SignalWaitCancelled(seen=item.seen, call_id=item.target))
    elif call.kind == "ask":
        _close(turn, item.target, ev.QuestionWithdrawn(seen=item.seen, call_id=item.target, question_id=call.approval_id or ""))
    elif call.kind == "child":
        assert call.child is not None
        if call.stage in ("unsent", "tape") or (item.target in turn.opened and turn.state.paused) or call.unfunded:
            _never_sent(turn, item.target, call, item.seen, "its parent gave it up before it was started")  # a resume must not start it
        else:
            turn.events.append(ev.ChildCancelRequested(seen=item.seen, call_id=item.target, child_run_id=call.child))
    elif call.binding and item.target not in turn.opened:
        turn.events.append(ev.ToolCallCancelRequested(seen=item.seen, call_id=item.target, tool=call.name))
    else:
        event = ev.ToolCallCancelled(seen=item.seen, call_id=item.target, tool=call.name, approval_id=call.approval_id)
        _close(turn, item.target, event)


def _close(turn: _Turn, call_id: CallId, event: ev.Data) -> None:
    turn.closed.add(call_id)
    turn.events.append(event)


def _set_state(turn: _Turn, item: cmd.SetState) -> None:
    turn.watch.showed(item.value)
    turn.events.append(ev.StateChanged(seen=item.seen, value=item.value))


def _save(turn: _Turn, item: cmd.SaveCheckpoint | cmd.SaveWrites) -> None:
    turn.events.append(saved(item))


def _finish_step(turn: _Turn, item: cmd.FinishStep) -> None:
    if turn.open(item.id) is None:
        turn.watch.spend()
        turn.watch.worked(turn.next_seq)
    if item.fingerprint:
        turn.watch.put_out(item.fingerprint, turn.next_seq)
    turn.events.append(finished(item))


def _complete(turn: _Turn, item: cmd.CompleteRun) -> None:
    _end(turn, item, Ending(outcome="completed", result=item.result, result_ref=item.result_ref))


def _fail(turn: _Turn, item: cmd.FailRun) -> None:
    _end(turn, item, Ending(outcome="failed", error=item.error, reason=item.error.message))


def _end(turn: _Turn, item: cmd.CompleteRun | cmd.FailRun, ending: Ending) -> None:
    """The code is through. What this very advance opened counts too; the breaker has nothing more to protect."""
    turn.ended = True
    for call_id, call in turn.opened.items():
        if call.binding and call_id not in turn.closed:
            _never_sent(turn, call_id, call, item.seen, "its parent ended in the same breath")
    calls = {i: c for i, c in (turn.state.calls | turn.opened).items() if i not in turn.closed}
    turn.events.extend(end(msgspec.structs.replace(turn.state, calls=calls), ending, seen=item.seen))


def _never_sent(turn: _Turn, call_id: CallId, call: Call, seen: int, why: str) -> None:
    """The code asked for something and does not wait for it: it was not sent, and is not. `why`: of a child run."""
    if call.kind == "child":
        assert call.child is not None
        error = Failure(type="RunCancelled", message=why)
        failed = ev.ChildFailed(
            call_id=call_id,
            child_run_id=call.child,
            status=RunStatus.CANCELLED,
            error=error,
            usage=Usage(),
            recalled=AT_ONCE if turn.plays else None,
        )
        _close(turn, call_id, failed)
    else:
        _close(turn, call_id, ev.ToolCallCancelled(seen=seen, call_id=call_id, tool=call.name, approval_id=call.approval_id))


def _diverged(turn: _Turn, item: cmd.ReportDivergence) -> None:
    """Never corrupt, never kill: the run pauses with a readable difference until the code fits again."""
    turn.diverged = True
    message = f"replay asked for {item.found}, the journal has {item.expected}; deploy code that fits, then resume"
    turn.events.append(ev.BreakerTripped(limit="divergence", value=0, maximum=0, message=message))
    turn.events.append(ev.RunPaused(reason=message))


_TAKE: dict[type, Callable[[_Turn, Any], None]] = {
    cmd.CallTool: _call_tool,
    cmd.StartChild: _start_child,
    cmd.StartTimer: _start_timer,
    cmd.AwaitSignal: _await_signal,
    cmd.AskQuestion: _ask_question,
    cmd.RequestStep: _request_step,
    cmd.CancelCall: _cancel_call,
    cmd.SetState: _set_state,
    cmd.FinishStep: _finish_step,
    cmd.SaveCheckpoint: _save,
    cmd.SaveWrites: _save,
    cmd.CompleteRun: _complete,
    cmd.FailRun: _fail,
    cmd.ReportDivergence: _diverged,
}
