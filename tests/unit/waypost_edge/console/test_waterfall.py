"""Traces as waterfalls, and where they are in Grafana."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

from waypost_core import genai
from waypost_core.tracing import Link, Span, SpanEvent
from waypost_core.tracing.spans import Attributes, Shape
from waypost_edge.console.grafana import SPAN, TRACE, Grafana
from waypost_edge.console.waterfall import LEAST, MAX_INDENT, SCALE, waterfall
from waypost_edge.tempo.fields import Trace

TRACE_ID = bytes(range(16))
RUN = "00010203-0405-0607-0809-0a0b0c0d0e0f"


def identity(number: int) -> bytes:
    return number.to_bytes(8, "big") if number else b""


def span(number: int, parent: int, start: int, end: int, attributes: Attributes | None = None, **more: object) -> Span:
    """A span by number; 0 is no parent. Times are seconds."""
    return Span(
        trace_id=TRACE_ID,
        span_id=identity(number),
        parent_id=identity(parent),
        shape=Shape(f"s{number}"),
        start_us=start * 1_000_000,
        end_us=end * 1_000_000,
        attributes=attributes or {},
        **more,  # type: ignore[arg-type]
    )


def trace(*spans: Span) -> Trace:
    return Trace(list(spans), spans[0], {})


def test_spans_come_in_the_order_of_the_tree_with_their_places() -> None:
    shown = waterfall(trace(span(1, 0, 100, 110), span(4, 1, 106, 110), span(2, 1, 100, 105), span(3, 2, 101, 103)))
    assert [(line.name, line.depth, line.below) for line in shown.lines] == [("s1", 0, 3), ("s2", 1, 1), ("s3", 2, 0), ("s4", 1, 0)]
    assert [(line.left, line.width) for line in shown.lines] == [(0, SCALE), (0, SCALE / 2), (SCALE / 10, SCALE / 5), (600, 400)]
    assert [line.begins for line in shown.lines] == [0, 0, 1, 6]
    assert shown.marks == [0, 2.5, 5, 7.5, 10]
    assert (shown.spans, shown.failed, shown.path) == (4, 0, [])


def test_a_span_is_looked_into() -> None:
    whole = trace(span(1, 0, 0, 100), span(2, 1, 40, 60), span(3, 2, 50, 60), span(4, 1, 0, 10))
    shown = waterfall(whole, within=identity(2).hex())
    assert [(line.name, line.depth, line.left, line.width) for line in shown.lines] == [
        ("s2", 0, 0, SCALE),
        ("s3", 1, SCALE / 2, SCALE / 2),
    ]
    assert [line.begins for line in shown.lines] == [40, 50], "still since the run's start"
    assert shown.path == [(identity(1).hex(), "s1"), (identity(2).hex(), "s2")]


@pytest.mark.parametrize("within", [identity(9).hex(), "xyz", "00", "0" * 64])
def test_what_is_no_span_of_the_trace(within: str) -> None:
    with pytest.raises(KeyError):
        waterfall(trace(span(1, 0, 0, 1)), within=within)


def test_moments_are_seen_and_stay_in_the_picture() -> None:
    shown = waterfall(trace(span(1, 0, 0, 1_000), span(2, 1, 1_000, 1_000), span(3, 1, 500, 500)))
    assert [(line.left, line.width) for line in shown.lines[1:]] == [(500, LEAST), (SCALE - LEAST, LEAST)]
    moment = waterfall(trace(span(1, 0, 5, 5)))
    assert (moment.lines[0].left, moment.lines[0].width) == (0, LEAST)


def test_a_cut_or_crooked_trace_is_shown_too() -> None:
    orphan, round_one, round_two = span(2, 99, 1, 2), span(3, 4, 1, 2), span(4, 3, 1, 2)
    shown = waterfall(trace(span(1, 0, 0, 9), orphan, round_one, round_two))
    assert [line.name for line in shown.lines] == ["s1", "s2"], "what runs in circles hangs on nothing"
    deep = waterfall(trace(*(span(number, number - 1, 0, 9) for number in range(1, 3_000))), most=5_000)
    assert len(deep.lines) == 2_999
    assert deep.lines[-1].depth == MAX_INDENT


def test_what_a_line_says() -> None:
    attributes: Attributes = {
        genai.KIND: "wait", genai.WAIT: "approval", genai.SEQ: 7, genai.PENDING: True, "waypost.cost_usd": 0.001250, "list": ["a", "b"],
        "yes": True,
    }  # fmt: skip
    links = [Link(TRACE_ID, identity(8), "child"), Link(TRACE_ID, identity(8), "caller")]
    events = [SpanEvent(3_000_000, "warned", {"limit": "steps"})]
    [_, line] = waterfall(trace(span(1, 0, 1, 9), span(2, 1, 2, 9, attributes, error="", links=links, events=events))).lines
    assert (line.paint, line.kind, line.seq, line.open, line.error) == ("failed", "wait", 7, True, "")
    assert line.facts == [("waypost.wait", "approval"), ("waypost.cost_usd", "0.00125"), ("list", "a, b"), ("yes", "yes")]
    assert [(each.what, each.run_id) for each in line.links] == [("child", RUN), ("caller", "")]
    assert [(each.name, each.after, each.facts) for each in line.told] == [("warned", 2.0, [("limit", "steps")])]


def test_grafana_opens_a_trace_at_a_span() -> None:
    grafana = Grafana("https://grafana.example.com/team/", "tempo-1")
    parts = urlsplit(grafana.trace(RUN, 1_800_000_000.5, 1_800_000_010.0, span_id="0a0b"))
    assert (parts.scheme, parts.netloc, parts.path) == ("https", "grafana.example.com", "/team/explore")
    query = parse_qs(parts.query)
    [pane] = json.loads(query["panes"][0]).values()
    assert query["schemaVersion"] == ["1"]
    assert pane["datasource"] == "tempo-1"
    assert pane["queries"] == [
        {"refId": "A", "datasource": {"type": "tempo", "uid": "tempo-1"}, "queryType": "traceql", "query": RUN.replace("-", "")}
    ]
    assert pane["range"] == {"from": "1799999940500", "to": "1800000070000"}
    assert pane["panelsState"] == {"trace": {"spanId": "0a0b"}}


def test_the_pattern_becomes_the_address_of_any_span() -> None:
    grafana = Grafana("https://grafana.example.com")
    made = grafana.pattern(None, None).replace(TRACE, RUN.replace("-", "")).replace(SPAN, "0a0b")
    assert made == grafana.trace(RUN, None, None, span_id="0a0b")
    assert '"to":"now"' in parse_qs(urlsplit(made).query)["panes"][0]


def test_a_long_trace_is_shown_by_pages() -> None:
    long = trace(span(1, 0, 0, 99), *(span(number, 1, number, number) for number in range(2, 26)))
    pages = [waterfall(long, first=first, most=10) for first in (0, 10, 20, 30)]
    assert [[line.name for line in page.lines][:1] for page in pages] == [["s1"], ["s11"], ["s21"], []]
    assert [(page.first, page.count, len(page.lines)) for page in pages] == [(0, 25, 10), (10, 25, 10), (20, 25, 5), (30, 25, 0)]
    found = waterfall(long, span=identity(15).hex(), most=10)
    assert (found.first, found.lines[4].name) == (10, "s15")
    assert waterfall(long, span="zz", most=10).first == 0
