"""Whatever arrives in whatever order: the fold is total and equals the live state, and the promises of the machine hold."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from tests.unit.waypost_core.machine import RUN, Machine, failed, succeeded, uncertain
from waypost_core import effects as fx
from waypost_core.messages import HostFound, PermitsRevoked, PermitState, TimersDue
from waypost_core.react import outstanding
from waypost_core.state import decode_state, encode_state
from waypost_proto import commands as cmd
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId
from waypost_proto.values import Approval, Budget, Effect

TOOLS = ("read", "safe", "pay", "asks", "later", "forbidden")
TERMINAL = {"run_completed", "run_failed", "run_cancelled"}

action = st.one_of(
    st.tuples(st.just("call"), st.sampled_from(TOOLS), st.booleans()),
    st.tuples(st.just("succeed"), st.integers(0, 8), st.integers(1, 3)),
    st.tuples(st.just("fail"), st.integers(0, 8), st.integers(1, 3)),
    st.tuples(st.just("doubt"), st.integers(0, 8), st.integers(1, 3)),
    st.tuples(st.just("not_done"), st.integers(0, 8), st.integers(1, 3)),
    st.tuples(st.just("timer"), st.integers(0, 8), st.sampled_from(("", "#retry", "#approval"))),
    st.tuples(st.just("revoked"), st.integers(0, 8), st.sampled_from(("revoked", "started"))),
    st.tuples(st.just("cancel_call"), st.integers(0, 8), st.none()),
    st.tuples(st.just("sleep"), st.none(), st.none()),
    st.tuples(st.just("pause"), st.integers(0, 3), st.none()),
    st.tuples(st.just("resume"), st.integers(0, 3), st.none()),
    st.tuples(st.just("cancel"), st.integers(0, 3), st.none()),
    st.tuples(st.just("signal"), st.integers(0, 3), st.none()),
    st.tuples(st.just("approve"), st.integers(0, 8), st.booleans()),
    st.tuples(st.just("complete"), st.none(), st.none()),
    st.tuples(st.just("host"), st.none(), st.none()),
    st.tuples(st.just("repeat"), st.none(), st.none()),
)


class Driver:
    """Turns drawn actions into messages; call ids count up, so that answers sometimes hit open calls."""

    def __init__(self) -> None:
        self.run = Machine(budget=Budget(max_steps=6))
        self.count = 0
        self.last: object = None

    def message(self, kind: str, a: object, b: object) -> object:  # noqa: C901 - one case an action
        run, call_id = self.run, CallId(f"0:{a}")
        match kind:
            case "call":
                approval = Approval(role="r", expires_seconds=5) if b else None
                self.count += 1
                return run.advance_message(run.call(str(a), f"0:{self.count}", approval=approval))
            case "succeed":
                return succeeded(call_id, int(b))  # type: ignore[call-overload]
            case "fail":
                return failed(call_id, int(b))  # type: ignore[call-overload]
            case "doubt":
                return uncertain(call_id, int(b))  # type: ignore[call-overload]
            case "not_done":
                return mb.ToolNotDone(run_id=RUN, call_id=call_id, attempt=int(b))  # type: ignore[call-overload]
            case "timer":
                return TimersDue((f"{call_id}{b}",))
            case "revoked":
                return PermitsRevoked((PermitState(call_id, 1, b),))  # type: ignore[arg-type]
            case "cancel_call":
                return run.advance_message(cmd.CancelCall(seen=run.the.outside, target=call_id))
            case "sleep":
                self.count += 1
                return run.advance_message(cmd.StartTimer(seen=run.the.outside, id=CallId(f"0:{self.count}"), fire_at=run.now + 1))
            case "pause":
                return mb.Pause(run_id=RUN, request_id=f"p{a}")
            case "resume":
                return mb.Resume(run_id=RUN, request_id=f"r{a}", budget=Budget(max_steps=50))
            case "cancel":
                return mb.Cancel(run_id=RUN, request_id=f"c{a}")
            case "signal":
                return mb.Signal(run_id=RUN, request_id=f"s{a}", name="n")
            case "approve":
                call = run.the.calls.get(call_id)
                approval_id = (call.approval_id if call else None) or "ap-none"
                verdict = "approve" if b else "deny"
                return mb.DecideApproval(run_id=RUN, request_id=f"a{a}{b}", approval_id=approval_id, decision=verdict, by="x")
            case "complete":
                return run.advance_message(cmd.CompleteRun(seen=run.the.outside, result=Raw(b"1")))
            case "host":
                return HostFound()
            case _:
                return self.last


@settings(max_examples=300)
@given(st.lists(action, max_size=40))
def test_the_machine_keeps_its_promises(actions: list[tuple[str, object, object]]) -> None:
    driver = Driver()
    run = driver.run
    results: dict[str, int] = {}
    for kind, a, b in actions:
        message = driver.message(kind, a, b)
        if message is None:
            continue
        driver.last = message
        was_terminal, was_paused = run.the.terminal, run.the.paused
        permitted = {call_id for call_id, call in run.the.calls.items() if call.permit}
        run.now += 1
        run.tell(message)  # type: ignore[arg-type]
        if was_terminal:
            assert run.events == [], "no event after the end"
        for data, name in zip(run.events, run.types, strict=True):
            if name in ("tool_call_completed", "tool_call_failed"):
                results[data.call_id] = results.get(data.call_id, 0) + 1  # type: ignore[attr-defined]
        for effect in run.of(fx.SendTool):
            call = run.the.calls[effect.call_id]  # type: ignore[union-attr]
            assert call.effect is not None
            if run.the.paused:  # only the end of a paused run asks again for what was started before
                assert "run_ending" in run.types
                assert effect.call_id in permitted, "nothing new is sent while paused"
                assert fx.GrantPermit not in map(type, run.effects)
                continue
            assert call.approval_id is None or call.approved, "nothing is sent without its approval"
            assert call.effect is Effect.READ or effect.mode == "reconcile" or fx.GrantPermit in map(type, run.effects)  # type: ignore[union-attr]
        if was_paused and run.the.paused:
            assert run.of(fx.Activate) == []
    assert all(count == 1 for count in results.values()), "one result a call"
    assert [event.seq for event in run.log] == list(range(1, len(run.log) + 1))
    assert sum(event.type in TERMINAL for event in run.log) <= 1
    assert msgspec.json.encode(run.refold()) == msgspec.json.encode(run.the), "the fold of the log is the live state"
    assert msgspec.json.encode(decode_state(encode_state(run.the))) == msgspec.json.encode(run.the)
    assert run.the.approvals == sum(call.stage == "approval" for call in run.the.calls.values())
    assert run.the.held == sum(call.stage == "held" for call in run.the.calls.values())
    for effect in outstanding(run.the):
        if isinstance(effect, fx.SendTool):
            assert effect.call_id in run.the.calls
