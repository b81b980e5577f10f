"""From effects to rows and outgoing messages. Knows subjects, message ids and tokens; decides nothing about a run.

Message ids (CORRECTNESS.md row 11): (run, seq of the causing event, what, emission). Publishing again after a failure keeps the id;
deriving the work again raises the emission, or the server's duplicate window would swallow it.
"""

from __future__ import annotations

from dataclasses import replace

from msgspec import UNSET

from waypost_coordinator.approval_details import ApprovalDetails
from waypost_coordinator.batch import Batch, Outgoing
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter
from waypost_coordinator.live import LiveRun
from waypost_coordinator.registry import Registry
from waypost_core import effects as fx
from waypost_core.dispatch import activation, may_precede_commit, needs_args, tool_call
from waypost_core.state import Call, Gate, RunState
from waypost_core.timing import LATEST
from waypost_io.store.ports import ApprovalRow, InboxRow, NoticeRow, PermitRow, TimerRow
from waypost_proto.codec import encode
from waypost_proto.ids import CallId, RunId, idempotency_key, traceparent
from waypost_proto.subjects import ANY_WORKER
from waypost_proto.task import parse_time
from waypost_proto.values import Token
from waypost_proto.work import Stop

INBOX_HEADER = "Waypost-Inbox"
"""Names the inbox row that a message between runs came from; the receiver's commit removes it."""

OVERTAKEN_MOST = 1_000
"""Calls that were answered before they were recorded and are remembered: those of the last failed commits."""


class Emissions:
    """Numbers that no one has used: the lease epoch in front, a counter behind. Also the activation tokens' counters."""

    def __init__(self) -> None:
        self._counter = 0

    def token(self, epoch: int) -> Token:
        self._counter += 1
        return Token(epoch, self._counter)

    def again(self, epoch: int) -> int:
        """An emission above 0 that differs from every other."""
        self._counter += 1
        return (epoch << 32) | self._counter


class Poster:
    """Turns the effects of one run's decision into parts of a batch."""

    def __init__(self, ground: Ground, registry: Registry) -> None:
        self._ground = ground
        self._registry = registry
        self.emissions = Emissions()
        self._overtaken: dict[tuple[RunId, CallId], None] = {}

    def overtook(self, run_id: RunId, call_id: CallId) -> None:
        """A result came for a call that the log does not have: it went out before a commit that failed.

        When the worker asks for it again, its first message id is used up, and the server would take the call for a repeat of one that
        nobody will answer any more.
        """
        self._overtaken[run_id, call_id] = None
        if len(self._overtaken) > OVERTAKEN_MOST:
            del self._overtaken[next(iter(self._overtaken))]

    def post(self, batch: Batch, live: LiveRun, effect: fx.AnyEffect, *, emission: int = 0) -> None:  # noqa: C901  # one case an effect
        """Add what `effect` asks for. `Activate` is not handled here: a batch has at most one activation a run (`activate`)."""
        state, rows = live.state, batch.rows
        run_id = state.run_id
        match effect:
            case fx.SetTimer():
                row = TimerRow(run_id, effect.timer_id, live.partition, min(effect.due_at, LATEST))
                rows.timers[run_id, effect.timer_id] = row
            case fx.ClearTimer():
                rows.timers[run_id, effect.timer_id] = None
            case fx.GrantPermit():
                rows.permits[run_id, effect.call_id] = _permit(state, effect)
            case fx.RevokeRun():
                batch.revoke(run_id, None)
            case fx.RevokeCall():
                batch.revoke(run_id, effect.call_id)
            case fx.OpenApproval():
                rows.approvals[effect.approval_id] = _opened(state, effect)
            case fx.CloseApproval():
                rows.approvals[effect.approval_id] = _closed(state, effect, rows.approvals.get(effect.approval_id))
            case fx.SendTool():
                self._send_tool(batch, state, effect, emission)
            case fx.SendMail():
                self._send_mail(batch, run_id, effect, emission)
            case fx.Notify():
                self._notify(batch, effect)
            case fx.StopWork():
                batch.stops.append(Stop(run_id=run_id, why=effect.why, call_id=effect.call_id))
            case fx.Activate():
                pass

    def build_for(self, live: LiveRun) -> str | None:
        """The build that gets the run's next activation; None while no live worker hosts the agent.

        A run stays with its build while any worker of it lives; after that another build may go on, and replay checks
        that it fits.
        """
        state = live.state
        if state.build and (self._registry.live_workers(state.agent, state.build) or self._works_at(state)):
            return state.build
        if state.build and self._registry.worker_expected(state.worker):  # we have just come to the run, and have not heard everybody yet
            return state.build
        entry = self._registry.agent(state.agent)
        if entry is not None and self._registry.live_workers(state.agent, entry.current.build):
            return entry.current.build
        return None

    def is_sticky(self, live: LiveRun, build: str) -> bool:
        """Whether the worker that holds the coroutine gets the activation: not while it leaves, unless a local effect runs there."""
        state = live.state
        if not state.worker or build != state.build:
            return False
        return self._registry.takes_work(state.worker) or self._works_at(state)

    def _works_at(self, state: RunState) -> bool:
        """A local effect runs at the run's worker, which lives."""
        return state.running > 0 and self._registry.worker_alive(state.worker)

    def activate(self, batch: Batch, live: LiveRun, *, build: str, epoch: int, emission: int = 0) -> None:
        """One activation with everything unread: to the worker that holds the coroutine if it lives, to any otherwise."""
        state = live.state
        sticky = self.is_sticky(live, build) and (state.running > 0 or not self._registry.balance.lets_go(state.worker))
        target = state.worker if sticky else ANY_WORKER
        token = self.emissions.token(epoch)
        message = activation(state, live.unread, build=build, token=token, now=self._ground.clock.now(), sender=self._ground.name)
        msg_id = f"{state.run_id}.{state.outside}.a.{emission or state.seq}"
        trace = _trace_header(traceparent(state.run_id, state.outside, "activation"))
        subject = self._ground.subjects.work(state.agent, build, target)
        framed = sticky and self._registry.takes_frames(state.worker)
        batch.outgoing.append(Outgoing(subject, encode(message), msg_id, None, trace, "work", framed=framed))
        live.delivered = state.outside
        live.token = token
        live.sent_to = state.worker if sticky else ""
        live.sure = True

    def _send_tool(self, batch: Batch, state: RunState, effect: fx.SendTool, emission: int) -> None:
        call = state.calls.get(effect.call_id)
        if call is None:
            return
        if not emission and (state.run_id, effect.call_id) in self._overtaken:
            emission = self.emissions.again(self._ground.epochs[self._ground.partition(state.run_id)])
        early = effect.mode == "execute" and may_precede_commit(call, self._registry.tools.get(call.name))
        message = tool_call(state, effect.call_id, call, mode=effect.mode, emission=emission, sender=self._ground.name)
        # the digest: what another worker asks for under this number, after a commit that failed, must not pass for a repeat
        msg_id = f"{state.run_id}.{effect.sent}.t{effect.call_id}.{call.args_digest[:16]}.{emission}"
        if early:  # asked before a commit that failed, and answered into a mailbox that was lost: nobody would hear it a second time
            msg_id = f"{msg_id}.{self._ground.roads.get(self._ground.subjects.stream('MAILBOX'), '')}"
        trace = _trace_header(_trace_of_attempt(state, call, effect))
        if needs_args(call):
            batch.hydrate.append((message, call.args_seq or call.seq, msg_id, trace))
        else:
            of = (state.run_id, effect.call_id) if call.permit and effect.mode == "execute" else None  # a question needs no permit
            subject = self._ground.subjects.tool(message.tool)
            batch.outgoing.append(Outgoing(subject, encode(message), msg_id, None, trace, "tools", of, early))

    def _send_mail(self, batch: Batch, sender: RunId, effect: fx.SendMail, emission: int) -> None:
        partition = self._ground.partition(effect.to)
        # the inbox is read in this order: a start comes before what was sent to the child after it
        message_id = f"{sender}.{effect.sent:08d}.{effect.key}.{effect.to}"
        subject = self._ground.subjects.mail("control", effect.agent, effect.to)
        body = encode(effect.mail)
        batch.rows.inbox[message_id] = InboxRow(message_id, effect.to, partition, subject, body, sender)
        if self._ground.owns(partition):  # no need for the road: the row is the durable copy, and we are the receiver
            batch.local_mail.append(Letter(mail=effect.mail, run_id=effect.to, partition=partition, inbox_id=message_id))
        else:
            batch.outgoing.append(Outgoing(subject, body, f"{message_id}.{emission}", {INBOX_HEADER: message_id}))

    def _notify(self, batch: Batch, effect: fx.Notify) -> None:
        notice = effect.notice
        body = encode(notice)
        batch.rows.notices.append(
            NoticeRow(notice_id=notice.notice_id, run_id=notice.run_id, agent=notice.agent, at=parse_time(notice.at), body=body)
        )
        batch.outgoing.append(Outgoing(self._ground.subjects.supervisor(notice.agent), body, f"{notice.notice_id}.{notice.why}"))


def _trace_of_attempt(state: RunState, call: Call, effect: fx.SendTool) -> str:
    """The span that this attempt, or this question whether it took effect, is in the run's trace."""
    asked = effect.mode == "reconcile"
    return traceparent(state.run_id, effect.sent) if asked else traceparent(state.run_id, call.seq, call.attempt)


def _trace_header(trace: str) -> bytes:
    return f"traceparent: {trace}\r\n".encode()


def _permit(state: RunState, effect: fx.GrantPermit) -> PermitRow:
    call = state.calls[effect.call_id]
    return PermitRow(
        run_id=state.run_id,
        call_id=effect.call_id,
        tool=call.name,
        attempt=call.attempt,
        args_digest=call.args_digest,
        effect=str(call.effect or "unsafe"),
        idempotency_key=idempotency_key(state.run_id, effect.call_id),
        approval_id=call.approval_id,
        force=effect.force,
    )


def _opened(state: RunState, effect: fx.OpenApproval) -> ApprovalRow:
    call = state.calls[effect.call_id]
    gate = call.gate or Gate(role=effect.role)
    args = bytes(call.args) if call.args is not UNSET else encode({"ref": call.args_ref}) if call.args_ref is not None else b"null"
    return ApprovalRow(
        approval_id=effect.approval_id,
        run_id=state.run_id,
        agent=state.agent,
        call_id=effect.call_id,
        tool=call.name,
        args=args,
        args_digest=call.args_digest,
        role=effect.role,
        reason=effect.reason,
        tenant=state.tenant,
        requested_at=state.recorded_at,
        expires_at=min(effect.expires_at, LATEST),
        policy_version=gate.policy_version,
        details=encode(_details(state, call, gate, effect)),
    )


def _details(state: RunState, call: Call, gate: Gate, effect: fx.OpenApproval) -> ApprovalDetails:
    asked = effect.asked
    return ApprovalDetails(
        kind="approval" if asked is None else "question",
        quorum=gate.quorum,
        given=list(gate.given),
        rule=gate.rule,
        question="" if asked is None else asked.question,
        answer_schema=UNSET if asked is None else asked.answer_schema,
        replaces=gate.replaces,
        edited_by="" if call.edit is None else call.edit.by,
        starter=state.starter if gate.separate else "",
    )


def _closed(state: RunState, effect: fx.CloseApproval, opened: ApprovalRow | None) -> ApprovalRow:
    """Only state and decision are written to a row that exists; the rest fills the shape."""
    row = opened or ApprovalRow(
        approval_id=effect.approval_id,
        run_id=state.run_id,
        agent=state.agent,
        call_id=effect.call_id,
        tool="",
        args=b"null",
        args_digest="",
        role="",
        reason="",
        tenant=state.tenant,
        requested_at=state.recorded_at,
        expires_at=state.recorded_at,
    )
    return replace(row, state=effect.state, decided_by=effect.by, decided_at=state.recorded_at, decision_reason=effect.reason)
