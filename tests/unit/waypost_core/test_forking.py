"""Where a run can be forked, what a fork begins with, and what becomes of its calls: given a log, when it is forked, then."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from waypost_core import effects as fx
from waypost_core.comparing import compare
from waypost_core.decide import decide
from waypost_core.decision import Decision
from waypost_core.drafting import Draft
from waypost_core.evolve import evolve, fold, initial
from waypost_core.forking import boundaries
from waypost_core.messages import Env
from waypost_core.react import react
from waypost_core.state import RunState
from waypost_core.tape import Tape
from waypost_core.tracing.run import RunTrace
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.codec import decode_union, encode
from waypost_proto.ids import CallId, RunId, child_run_id, digest_of
from waypost_proto.registry import ToolDefinition
from waypost_proto.task import format_time, parse_time
from waypost_proto.usage import Usage
from waypost_proto.values import Approval, Effect, Failure, Mark, RunStatus

SOURCE = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
FORK = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e77")
NOW = 2_000_000_000.0
ARGS = Raw(b'{"a":1}')


def log(*data: ev.AnyData, run_id: RunId = SOURCE, tenant: str = "default") -> list[ev.Event]:
    return [
        ev.Event(
            run_id=run_id, seq=seq, type=str(type(each).__struct_config__.tag), agent="clerk", correlation_id=SOURCE,
            recorded_at=format_time(1_900_000_000.0 + seq), tenant=tenant, data=Raw(encode(each)),
        )
        for seq, each in enumerate(data, 1)
    ]  # fmt: skip


def requested(call: str, *, seen: int = 1, mark: bool = True, **more: Any) -> ev.ToolCallRequested:
    return ev.ToolCallRequested(
        seen=seen, mark=Mark(digest="d1", seen=seen, worker="w1") if mark else None, call_id=CallId(call), tool="pay", args=ARGS,
        args_digest=digest_of(bytes(ARGS)), idempotency_key=f"{SOURCE}/{call}", effect="unsafe", **more,
    )  # fmt: skip


STARTED = ev.RunStarted(input=Raw(b'"x"'), labels={"team": "a"})
DONE = ev.ToolCallCompleted(call_id=CallId("0:1"), tool="pay", attempt=1, result=Raw(b'"paid"'))
HISTORY = (STARTED, requested("0:1"), DONE, ev.RunCompleted(seen=3, mark=Mark(digest="d2", seen=3), result=Raw(b'"paid"')))


class Fork:
    """A fork as a coordinator lives it."""

    def __init__(self, source: list[ev.Event], at: int, **more: Any) -> None:
        self.source = source
        self.state: RunState | None = None
        self.log: list[ev.Event] = []
        self.effects: list[Any] = []
        self.tools: dict[str, ToolDefinition] = {}
        self.decision = self.tell(mb.ForkRun(run_id=FORK, source=SOURCE, seq=at, **more))

    def tell(self, message: Any) -> Decision:
        tape = Tape.of(self.source)
        for event in self.log:
            tape.note(decode_union(ev.AnyData, event.data))
        draft = Draft.of(message, self.source, now=NOW) if isinstance(message, mb.ForkRun) else None
        decision = decide(self.state, message, Env(now=NOW, draft=draft, tape=tape, tools=self.tools))
        for event in decision.history:
            self.state = self.state or initial(event)
            evolve(self.state, event.seq, parse_time(event.recorded_at), decode_union(ev.AnyData, event.data))
        self.log.extend(decision.history)
        first = len(self.log) + 1
        for data in decision.events:
            assert self.state is not None
            evolve(self.state, self.state.seq + 1, NOW, data, "")
            tag = str(type(data).__struct_config__.tag)
            self.log.append(
                ev.Event(
                    run_id=FORK, seq=self.state.seq, type=tag, agent="clerk", correlation_id=SOURCE, recorded_at=format_time(NOW),
                    data=Raw(encode(data)),
                )
            )  # fmt: skip
        self.effects = [effect for n, data in enumerate(decision.events) for effect in react(self.state, first + n, data)]  # type: ignore[arg-type]
        return decision

    def advance(self, *items: cmd.AnyItem) -> Decision:
        assert self.state is not None
        return self.tell(
            mb.Advance(
                run_id=FORK, agent="clerk", worker="w2", build="b2", token=mb.Token(1, 1), base=self.state.digest, seen=self.state.outside,
                items=Raw(encode(list(items))),
            )
        )  # fmt: skip

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.log]


def test_a_fork_begins_with_its_sources_events_under_their_numbers() -> None:
    fork = Fork(log(*HISTORY), 3, starter="ann", labels={"why": "b"})
    assert fork.types == ["run_started", "tool_call_requested", "tool_call_completed", "run_forked"]
    assert {event.run_id for event in fork.log} == {FORK}
    assert [bytes(e.data) for e in fork.log[1:3]] == [bytes(e.data) for e in log(*HISTORY)[1:3]]
    assert fork.state is not None
    assert (fork.state.digest, fork.state.seen, fork.state.worker, fork.state.starter) == ("d1", 1, "", "ann")
    assert fork.state.labels == {"team": "a", "why": "b", "waypost.forked_from": SOURCE}
    assert msgspec.json.encode(fold(fork.log)) == msgspec.json.encode(fork.state)
    assert any(isinstance(effect, fx.Activate) for effect in fork.effects)
    assert fork.state.account.own == (0, 0, 0), "what the source used is not used again"


def test_a_recorded_call_is_answered_and_not_sent() -> None:
    fork = Fork(log(*HISTORY), 1)
    fork.advance(cmd.CallTool(seen=2, id=CallId("0:1"), tool="pay", args=ARGS))
    assert fork.types[-2:] == ["tool_call_requested", "tool_call_completed"]
    assert not [effect for effect in fork.effects if isinstance(effect, fx.SendTool | fx.GrantPermit)]
    assert fork.state is not None
    assert fork.state.account.own == (0, 0, 0)
    again = decode_union(ev.AnyData, fork.log[-1].data)
    assert isinstance(again, ev.ToolCallCompleted)
    assert (again.result, again.recalled) == (DONE.result, ev.Recalled(seq=3, at=1_900_000_003.0))
    fork.advance(cmd.CallTool(seen=4, id=CallId("0:2"), tool="pay", args=ARGS))
    assert fork.types[-1] == "run_paused", "the same call again was made once by the source"


def test_an_unknown_call_pauses_and_goes_live_under_its_own_key_with_its_approval() -> None:
    fork = Fork(log(*HISTORY), 1)
    gate = Approval(role="boss", expires_seconds=60)
    fork.advance(cmd.CallTool(seen=2, id=CallId("0:1"), tool="pay", args=Raw(b"2"), approval=gate))
    assert fork.state is not None
    assert fork.types[-1] == "run_paused"
    assert not [effect for effect in fork.effects if isinstance(effect, fx.SendTool | fx.GrantPermit | fx.OpenApproval)]
    stuck = fork.tell(mb.Resume(run_id=FORK, request_id="r1"))
    assert stuck.reply is not None
    assert (stuck.reply.code, "again at once" in stuck.reply.message) == ("409", True)
    fork.tell(mb.Resume(run_id=FORK, request_id="r2", tools="live"))
    call = fork.state.calls[CallId("0:1")]
    assert (call.stage, call.approved) == ("approval", False), "nothing of the source stands for an approval"
    assert not [effect for effect in fork.effects if isinstance(effect, fx.SendTool | fx.GrantPermit)]
    assert fork.state.identity == FORK


CANCELLED = ev.ToolCallCancelled(call_id=CallId("0:1"), tool="pay")
CHILD_CANCELLED = ev.ChildFailed(
    call_id=CallId("0:1"),
    child_run_id=SOURCE,
    status=RunStatus.CANCELLED,
    error=Failure(type="RunCancelled", message="gone"),
    usage=Usage(),
)


@pytest.mark.parametrize("settled", [CANCELLED, CHILD_CANCELLED, ev.ToolCallFailed(
    call_id=CallId("0:1"), tool="pay", attempt=1, error=Failure(type="DeadlineExceeded", message="too late"))])  # fmt: skip
def test_what_ended_the_source_from_outside_is_no_answer(settled: ev.Data) -> None:
    """A source that was cancelled while its call was open: its code neither gave the call up nor was told that it failed."""
    source = log(STARTED, requested("0:1"), ev.RunEnding(outcome="cancelled"), settled, ev.RunCancelled())
    fork = Fork(source, 1)
    fork.advance(cmd.CallTool(seen=2, id=CallId("0:1"), tool="pay", args=ARGS))
    assert fork.types[-2:] == ["tool_call_requested", "run_paused"], "it would wait for ever for what nobody answers"


def test_an_answer_in_the_copied_part_is_not_given_once_more() -> None:
    """Another call that asks for the same, under an id that the source never had."""
    fork = Fork(log(*HISTORY), 3)
    fork.advance(cmd.CallTool(seen=4, id=CallId("0:7"), tool="pay", args=ARGS))
    assert fork.types[-2:] == ["tool_call_requested", "run_paused"]


def test_a_call_is_not_taken_for_one_that_the_source_gave_up() -> None:
    """It would wait for ever: nobody misses the answer of the one, and nobody gives that of the other."""
    gave_up = ev.ToolCallCancelRequested(seen=1, mark=Mark(digest="d3", seen=1, worker="w1"), call_id=CallId("0:1"), tool="pay")
    fork = Fork(log(STARTED, requested("0:1"), gave_up, CANCELLED), 4)
    fork.advance(cmd.CallTool(seen=5, id=CallId("0:7"), tool="pay", args=ARGS))
    assert fork.types[-2:] == ["tool_call_requested", "run_paused"]


def test_a_call_that_the_source_gave_up_is_not_waited_for() -> None:
    source = log(STARTED, requested("0:1"), ev.ToolCallCancelRequested(seen=1, call_id=CallId("0:1"), tool="pay"), CANCELLED)
    fork = Fork(source, 1)
    fork.advance(cmd.CallTool(seen=2, id=CallId("0:1"), tool="pay", args=ARGS))
    assert fork.types[-1] == "tool_call_requested"


def test_a_call_whose_tool_nobody_hosted_is_sent_when_the_fork_goes_live() -> None:
    """It was asked for while the coordinator knew no gateway; that one is there now is told to nobody once more."""
    fork = Fork(log(*HISTORY), 1)
    fork.tools = {}
    fork.advance(cmd.CallTool(seen=2, id=CallId("0:1"), tool="pay", args=Raw(b"2")))
    assert fork.types[-1] == "run_paused"
    fork.tools = {"pay": ToolDefinition(name="pay", effect=Effect.IDEMPOTENT)}
    fork.tell(mb.Resume(run_id=FORK, request_id="r", tools="live"))
    assert "tool_call_dispatched" in fork.types
    assert [effect for effect in fork.effects if isinstance(effect, fx.SendTool)]


@pytest.mark.parametrize("approval", [None, Approval(role="boss", expires_seconds=60)])
def test_what_was_open_is_open_anew(approval: Approval | None) -> None:
    source = log(STARTED, requested("0:1", approval=approval))
    assert Fork(source, 2).state.calls[CallId("0:1")].stage == "tape"  # type: ignore[union-attr]
    live = Fork(source, 2, tools="live")
    sent = [effect for effect in live.effects if isinstance(effect, fx.SendTool)]
    opened = [effect for effect in live.effects if isinstance(effect, fx.OpenApproval)]
    assert (len(sent), len(opened)) == ((1, 0) if approval is None else (0, 1))
    assert Fork(source, 2, tools="deny").types[-1] == "tool_call_failed"


def test_a_child_of_a_live_fork_is_another_run() -> None:
    child = child_run_id(SOURCE, CallId("0:1"))
    mark = Mark(digest="d1", seen=1, worker="w1")
    asked = ev.ChildRequested(seen=1, mark=mark, call_id=CallId("0:1"), child_agent="helper", child_run_id=child, input=Raw(b"1"))
    fork = Fork(log(STARTED, asked), 2, tools="live")
    (mail,) = [effect for effect in fork.effects if isinstance(effect, fx.SendMail)]
    assert mail.to == child_run_id(FORK, CallId("0:1"))
    assert not [effect for effect in Fork(log(STARTED, asked), 2).effects if isinstance(effect, fx.SendMail)]


@pytest.mark.parametrize(
    ("childs", "wanted"), [(1_900_000_500.0, None), (1_900_000_102.0, NOW + 100.0)], ids=["its source's", "a timeout of its own"]
)
def test_an_open_child_has_no_deadline_of_its_source(childs: float, wanted: float | None) -> None:
    child = child_run_id(SOURCE, CallId("0:1"))
    mark = Mark(digest="d1", seen=1, worker="w1")
    asked = ev.ChildRequested(seen=1, mark=mark, call_id=CallId("0:1"), child_agent="helper", child_run_id=child, deadline_at=childs)
    source = log(msgspec.structs.replace(STARTED, deadline_at=1_900_000_500.0), asked)
    fork = Fork(source, 2, tools="live")
    (mail,) = [effect.mail for effect in fork.effects if isinstance(effect, fx.SendMail)]
    assert isinstance(mail, mb.StartRun)
    assert mail.deadline == (None if wanted is None else format_time(wanted))
    bound = Fork(source, 2, tools="live", deadline=format_time(NOW + 50.0))
    (mail,) = [effect.mail for effect in bound.effects if isinstance(effect, fx.SendMail)]
    assert isinstance(mail, mb.StartRun)
    assert mail.deadline == format_time(NOW + 50.0)


def test_a_cut_lies_between_decisions() -> None:
    two = log(STARTED, requested("0:1", mark=False), requested("0:2"), DONE, HISTORY[-1])
    assert boundaries(two) == [1, 3, 4]
    for at, said in (
        (2, "nearest place to fork it is 1 or 3"),
        (5, "how the run ends: the nearest place to fork it is 4"),
        (9, "5 events"),
    ):
        reply = Fork(two, at).decision.reply
        assert reply is not None
        assert reply.code == "400"
        assert said in reply.message


def test_what_an_end_withdraws_is_part_of_the_end() -> None:
    """A fork that began after it would wait for ever for a call that nobody answers and that its code never gave up."""
    ended = log(STARTED, requested("0:1"), CANCELLED, ev.RunCancelled())
    assert boundaries(ended) == [1, 2]
    assert boundaries(ended[:3]) == [1, 2, 3], "the code had given it up, and the run goes on"


def test_who_may_not_see_the_run_does_not_find_it() -> None:
    for source in (log(*HISTORY, tenant="other"), []):
        reply = Fork(source, 1).decision.reply
        assert reply is not None
        assert reply.code == "404"
    late = [msgspec.structs.replace(event, seq=event.seq + 5) for event in log(*HISTORY)]
    reply = Fork(late, 1).decision.reply
    assert reply is not None
    assert "retention" in reply.message


def test_a_repeat_is_a_duplicate() -> None:
    fork = Fork(log(*HISTORY), 1)
    assert fork.tell(mb.ForkRun(run_id=FORK, source=SOURCE, seq=1)).reply.duplicate  # type: ignore[union-attr]
    assert fork.tell(mb.ForkRun(run_id=FORK, source=SOURCE, seq=3)).reply.code == "409"  # type: ignore[union-attr]


def test_the_trace_of_a_fork_has_no_span_of_its_source_and_a_link_to_it() -> None:
    fork = Fork(log(*HISTORY), 3)
    fork.advance(cmd.CompleteRun(seen=4, result=Raw(b"1")))
    trace = RunTrace(FORK)
    spans = [span for e in fork.log for span in trace.feed(e.seq, e.type, int(parse_time(e.recorded_at) * 1e6), encode(e))]
    assert not [span for span in spans if "pay" in span.name]
    (link,) = spans[-1].links
    assert (link.trace_id.hex(), link.what) == (SOURCE.replace("-", ""), "forked_from")
    assert spans[-1].start_us == int(NOW * 1e6)


def test_comparing_says_where_two_runs_part() -> None:
    left = log(*HISTORY)
    right = log(STARTED, requested("0:1"), msgspec.structs.replace(DONE, result=Raw(b'"no"')), requested("0:2", seen=3), run_id=FORK)
    found = compare(left, right)
    assert [(pair.verdict, pair.differs) for pair in found.pairs] == [("different", ["answer"]), ("only_right", [])]
    assert found.first_difference == 0
    assert found.differs == ["status", "result"]
    assert compare(left, log(*HISTORY, run_id=FORK)).first_difference is None
