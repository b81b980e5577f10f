from __future__ import annotations

import pytest

from waypost_io.metrics import MAX_SERIES, Metrics
from waypost_proto.errors import ContractError


def test_the_text_format() -> None:
    metrics = Metrics()
    events = metrics.counter("events_total", "Events.", labels=("type", "agent"))
    events.labels("run_started", 'od"d\n\\').inc()
    events.labels("run_started", 'od"d\n\\').inc(2)
    metrics.gauge("lag", "Lag.").labels().follow(lambda: 7)
    size = metrics.histogram("batch", "Batch.", buckets=(1, 10)).labels()
    for value in (0.5, 1, 5, 100):
        size.observe(value)
    assert metrics.render().decode().splitlines() == [
        "# HELP events_total Events.",
        "# TYPE events_total counter",
        r'events_total{type="run_started",agent="od\"d\n\\"} 3',
        "# HELP lag Lag.",
        "# TYPE lag gauge",
        "lag 7",
        "# HELP batch Batch.",
        "# TYPE batch histogram",
        'batch_bucket{le="1"} 2',
        'batch_bucket{le="10"} 3',
        'batch_bucket{le="+Inf"} 4',
        "batch_sum 106.5",
        "batch_count 4",
    ]


def test_large_counts_keep_every_digit() -> None:
    metrics = Metrics()
    metrics.counter("n_total", "N.").labels().inc(123_456_789_012)
    assert b"n_total 123456789012\n" in metrics.render()


def test_labels_are_bounded() -> None:
    metrics = Metrics()
    family = metrics.counter("calls_total", "Calls.", labels=("tool",))
    for number in range(MAX_SERIES + 50):
        family.labels(f"tool-{number}").inc()
    assert family.labels("other").value == 50
    assert family.labels("tool-0").value == 1
    assert len(metrics.render().splitlines()) == MAX_SERIES + 1 + 2


def test_mistakes_are_named() -> None:
    metrics = Metrics()
    family = metrics.counter("calls_total", "Calls.", labels=("tool",))
    with pytest.raises(ContractError, match="calls_total"):
        family.labels()
    with pytest.raises(ContractError, match="defined twice"):
        metrics.gauge("calls_total", "Again.")
