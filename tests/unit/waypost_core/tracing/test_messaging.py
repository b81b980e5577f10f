"""The messages of a run in its trace, and the trace of one small run as it was when its ids were last chosen: they must not change."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import Raw

from tests.unit.waypost_core.machine import RUN, Machine, failed, succeeded, uncertain
from waypost_core import genai
from waypost_core.messages import TimersDue
from waypost_core.tracing import Capture, Kind, RunTrace, Span
from waypost_core.tracing.otlp_json import of_span
from waypost_proto import commands as cmd
from waypost_proto import mailbox as mb
from waypost_proto.codec import encode
from waypost_proto.ids import CallId
from waypost_proto.task import parse_time

GOLDEN = Path(__file__).parent / "golden" / "run.jsonl"


def spans_of(run: Machine, capture: Capture = Capture(), *, pending: bool = False) -> list[Span]:  # noqa: B008 - frozen
    trace, spans = RunTrace(RUN, capture), []
    for event in run.log:
        spans += trace.feed(event.seq, event.type, round(parse_time(event.recorded_at) * 1e6), encode(event))
    return [*spans, *trace.pending(round(run.now * 1e6))] if pending else spans


def later(run: Machine, seconds: float = 1.0) -> Machine:
    run.now += seconds
    return run


def desk() -> Machine:
    """A read that fails once, a payment in doubt that its hook settles, and the end."""
    run = later(Machine())
    later(run.calls("read"))
    run.tell(failed())
    run.tell(TimersDue(tuple(run.timers)))
    later(run).tell(succeeded(attempt=2))
    later(run).calls("asks", "0:2")
    later(run).tell(uncertain("0:2"))
    run.tell(TimersDue(tuple(run.timers)))
    later(run).tell(mb.ToolSucceeded(run_id=RUN, call_id=CallId("0:2"), attempt=1, result=Raw(b"3"), via="reconcile"))
    return later(run).advance(cmd.CompleteRun(seen=run.the.outside, result=Raw(b"1")))


def test_each_message_is_sent_and_processed() -> None:
    spans = spans_of(desk())
    by_id = {span.span_id: span for span in spans}
    processed = [span for span in spans if span.kind is Kind.CONSUMER]
    sent = {span.span_id: span for span in spans if span.kind is Kind.PRODUCER}
    assert {span.parent_id for span in processed} == set(sent)
    assert len(processed) == len(sent)
    for span in processed:
        producer = by_id[span.parent_id]
        assert producer.start_us == producer.end_us == span.start_us
        assert (producer.name, producer.service) == (span.name.replace("process ", "send "), "coordinator")
        said, theirs = producer.all_attributes, span.all_attributes
        assert said[genai.MESSAGING_OPERATION_TYPE] == said[genai.MESSAGING_OPERATION_NAME] == "send"
        assert said[genai.MESSAGING_SYSTEM] == "nats"
        assert said[genai.MESSAGING_DESTINATION_TEMPLATE] == theirs[genai.MESSAGING_DESTINATION_TEMPLATE]
        assert said.get(genai.MESSAGING_DESTINATION_NAME) == theirs.get(genai.MESSAGING_DESTINATION_NAME)
    tools = [span for span in sent.values() if genai.TOOL_NAME in span.all_attributes]
    assert sorted(str(span.all_attributes[genai.TOOL_NAME]) for span in tools) == ["asks", "asks", "read", "read"]
    assert all(by_id[span.parent_id].name.startswith("execute_tool ") for span in tools)


def test_without_them_the_rest_keeps_its_ids() -> None:
    with_them, without = spans_of(desk()), spans_of(desk(), Capture(messages=False))
    assert [span.span_id for span in without] == [span.span_id for span in with_them if span.kind is not Kind.PRODUCER]
    here = {span.span_id for span in without}
    assert all(span.parent_id in here for span in without if span.parent_id)


def test_what_was_sent_is_not_pending() -> None:
    run = later(Machine())
    run.calls("read")
    spans = [span for span in spans_of(later(run), pending=True) if genai.TOOL_NAME in span.all_attributes]
    assert {(span.name, span.all_attributes.get(genai.PENDING, False)) for span in spans} == {
        ("execute_tool read", True),
        ("send waypost.tools.read", False),
        ("process waypost.tools.read", True),
    }


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_message_keeps_its_id_until_its_span_ends(cut: int) -> None:
    whole, part = desk(), Machine(started=False)
    part.log = whole.log[:cut]
    shown = {span.span_id for span in spans_of(part, pending=True)}
    assert shown <= {span.span_id for span in spans_of(whole)}


def test_the_trace_of_a_small_run_is_as_it_was() -> None:
    """Byte for byte. Tests that fail here say that traces which were exported before would not fit those exported from now on."""
    found = b"".join(encode(of_span(span)) + b"\n" for span in spans_of(desk()))
    assert found == GOLDEN.read_bytes()
