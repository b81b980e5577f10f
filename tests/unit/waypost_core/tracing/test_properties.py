"""Whatever a run goes through: its trace has each span once, whole, under a parent that exists, and the same however it is read."""

from __future__ import annotations

from itertools import zip_longest

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.waypost_core.machine import RUN, Machine
from tests.unit.waypost_core.test_properties import Driver, action
from waypost_core.tracing import RunTrace, Span
from waypost_core.tracing.otlp_json import to_json
from waypost_proto.codec import encode
from waypost_proto.task import parse_time

MORE = st.one_of(action, st.tuples(st.just("complete"), st.none(), st.none()))


def history(actions: list[tuple[str, object, object]]) -> Machine:
    driver = Driver()
    for kind, a, b in actions:
        message = driver.message(kind, a, b)
        if message is not None:
            driver.last = message
            driver.run.now += 1
            driver.run.tell(message)  # type: ignore[arg-type]
    return driver.run


def project(run: Machine, *, skip: int = 0) -> tuple[list[Span], RunTrace, list[list[Span]]]:
    """The spans of all events after the first `skip`, the trace, and what was pending after each commit."""
    trace, spans, pending = RunTrace(RUN), [], []
    for event, after in zip_longest(run.log, run.log[1:]):
        ended = trace.feed(event.seq, event.type, round(parse_time(event.recorded_at) * 1e6), encode(event))
        spans += ended if event.seq > skip else []
        if after is None or after.recorded_at != event.recorded_at:  # the end of a commit: nobody sees the middle of one
            pending.append(trace.pending(trace.last_us + 1))
    return spans, trace, pending


@settings(max_examples=300)
@given(st.lists(MORE, max_size=40), st.integers(0, 60))
def test_every_log_makes_a_whole_trace(actions: list[tuple[str, object, object]], cut: int) -> None:
    run = history(actions)
    spans, trace, pending = project(run)
    ids = [span.span_id for span in spans]
    assert len(ids) == len(set(ids)), "no span twice"
    open_now = {span.span_id for span in pending[-1]}
    assert not open_now & set(ids), "a span that has ended is not pending"
    assert all(span.parent_id in open_now | set(ids) for span in spans if span.parent_id), "every parent is in the trace"
    assert all(trace.started_us <= span.start_us <= span.end_us for span in spans)
    assert all(len(span.span_id) == 8 for span in spans)
    if run.the.terminal:
        assert pending[-1] == []
        assert sum(span.parent_id == b"" for span in spans) == 1, "one root"
        shown = {span.span_id for shown in pending for span in shown}
        assert shown <= set(ids), "whatever was pending has ended under the same id"
    again, _, _ = project(run)
    assert to_json(again, {}, "1") == to_json(spans, {}, "1"), "byte for byte the same"
    rest, _, _ = project(run, skip=cut)
    done, _, _ = project(history_until(run, cut))
    assert [*done, *rest] == spans, "a reader that begins anew in the middle goes on where the other stopped"


def history_until(run: Machine, seq: int) -> Machine:
    part = Machine(started=False)
    part.log = run.log[:seq]
    return part
