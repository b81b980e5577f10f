"""Tools and people: a call starts only with its permit, at most once an attempt, and ends as its own arguments say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from msgspec import Raw, Struct

from tests.programs import kit
from tests.programs.calendar import ANSWER, DELIVER, PEOPLE, Calendar
from tests.programs.runs import Run
from waypost_core import dispatch
from waypost_core import effects as fx
from waypost_core.messages import AnyMessage, PermitsRevoked, PermitState
from waypost_proto import mailbox as mb
from waypost_proto.codec import decode, encode
from waypost_proto.ids import CallId
from waypost_proto.tools import ToolCall
from waypost_proto.values import Failure

Tell = Callable[[Run, AnyMessage], None]
Key = tuple[str, CallId, int]


class Arguments(Struct):
    """What every tool of `kit` is called with."""

    key: int
    takes: float = 0
    fails: int = 0


class Gateway:
    """Executes what is sent, keeps the ledger, and lets officers decide."""

    def __init__(self, calendar: Calendar, tell: Tell) -> None:
        self._calendar = calendar
        self._tell = tell
        self._ledger: dict[Key, Literal["permitted", "started", "revoked"]] = {}
        self._first_sent: dict[Key, float] = {}
        self.executed: dict[Key, int] = {}

    def send(self, run: Run, effect: fx.SendTool) -> None:
        """A call is on the road. Sending it again changes nothing: it is answered when it would have been."""
        call = run.state.calls[effect.call_id]
        message = dispatch.tool_call(run.state, effect.call_id, call, mode=effect.mode, emission=0)
        key = (run.run_id, message.call_id, message.attempt)
        self._first_sent.setdefault(key, self._calendar.now)
        self._calendar.plan(self._calendar.now, DELIVER, run.run_id, f"tool {key}", lambda: self._arrived(run, message, key), on_road=True)

    def _arrived(self, run: Run, message: ToolCall, key: Key) -> None:
        if message.permit and self._ledger.get(key) == "revoked":
            error = Failure(type="PermitRevoked", message="revoked")
            self._tell(run, mb.ToolRefused(run_id=run.run_id, call_id=message.call_id, attempt=message.attempt, error=error))
            return
        if message.permit:
            assert key in self._ledger, f"{key} was sent without a permit"
            if self._ledger[key] == "permitted":
                self._ledger[key] = "started"
                self.executed[key] = self.executed.get(key, 0) + 1
                assert self.executed[key] == 1, f"{key} was executed twice"
        arguments = decode(Arguments, bytes(message.args or b""))
        at = self._first_sent[key] + arguments.takes
        self._calendar.plan(at, ANSWER, run.run_id, f"tool {key}", lambda: self._answer(run, message, arguments))

    def _answer(self, run: Run, message: ToolCall, arguments: Arguments) -> None:
        if message.attempt <= arguments.fails:
            error = Failure(type="RuntimeError", message=f"attempt {message.attempt} at {arguments.key}")
            self._tell(run, mb.ToolFailed(run_id=run.run_id, call_id=message.call_id, attempt=message.attempt, error=error))
        else:
            result = Raw(encode(kit.told_by(message.tool, arguments.key)))
            self._tell(run, mb.ToolSucceeded(run_id=run.run_id, call_id=message.call_id, attempt=message.attempt, result=result))

    # -- the ledger

    def permit(self, run: Run, effect: fx.GrantPermit) -> None:
        key = (run.run_id, effect.call_id, run.state.calls[effect.call_id].attempt)
        if effect.force or self._ledger.get(key) != "started":
            self._ledger[key] = "permitted"

    def revoke(self, run: Run, *call_ids: CallId) -> None:
        """What was not started is revoked; the run is told what was found."""
        states: list[PermitState] = []
        for call_id in call_ids or tuple(run.state.calls):
            call = run.state.calls.get(call_id)
            if call is None or call.kind != "tool" or not call.permit:
                continue
            key = (run.run_id, call_id, call.attempt)
            if self._ledger.get(key) != "started":
                self._ledger[key] = "revoked"
            states.append(PermitState(call_id, call.attempt, self._ledger[key]))
        if states:
            found = PermitsRevoked(tuple(states))
            key_of_mail = f"revoked {','.join(call_ids)}"
            self._calendar.plan(self._calendar.now, DELIVER, run.run_id, key_of_mail, lambda: self._tell(run, found))

    # -- people

    def ask(self, run: Run, effect: fx.OpenApproval) -> None:
        """Calls that take 5 are never decided on, those that take 3 are denied, all others are granted, each a second later."""
        arguments = decode(Arguments, bytes(run.state.calls[effect.call_id].args or b""))
        if arguments.takes == 5:
            return
        decision: Literal["approve", "deny"] = "deny" if arguments.takes == 3 else "approve"
        message = mb.DecideApproval(
            run_id=run.run_id, request_id=effect.approval_id, approval_id=effect.approval_id, decision=decision, by="ann", roles=["officer"]
        )
        self._calendar.plan(self._calendar.now + 1, PEOPLE, run.run_id, effect.approval_id, lambda: self._tell(run, message))
