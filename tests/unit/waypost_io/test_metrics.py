from __future__ import annotations

import pytest

from waypost_io import exposition
from waypost_io import metrics as module
from waypost_io.genai_metrics import INFERENCE_DURATION, INPUT_TOKENS, INSTRUMENTS
from waypost_io.metrics import MAX_LABEL_VALUES, Metrics
from waypost_proto.errors import ContractError

RUN = "01890000-0000-7000-8000-00000000000a"
TRACE = RUN.replace("-", "")


def some_metrics() -> Metrics:
    metrics = Metrics()
    events = metrics.counter("events_total", "Events.", labels=("type", "agent"))
    events.labels("run_started", 'od"d\n\\').inc()
    events.labels("run_started", 'od"d\n\\').inc(2)
    metrics.gauge("lag", "Lag.").labels().follow(lambda: 7)
    size = metrics.histogram("batch", "Batch.", buckets=(1, 10)).labels()
    for value in (0.5, 1, 5, 100):
        size.observe(value)
    return metrics


def test_the_text_format() -> None:
    assert some_metrics().render().decode().splitlines() == [
        "# HELP events_total Events.",
        "# TYPE events_total counter",
        r'events_total{type="run_started",agent="od\"d\n\\"} 3',
        "# HELP lag Lag.",
        "# TYPE lag gauge",
        "lag 7",
        "# HELP batch Batch.",
        "# TYPE batch histogram",
        'batch_bucket{le="1.0"} 2',
        'batch_bucket{le="10.0"} 3',
        'batch_bucket{le="+Inf"} 4',
        "batch_sum 106.5",
        "batch_count 4",
    ]


def test_openmetrics_names_a_counter_without_its_suffix_and_ends() -> None:
    assert some_metrics().render_openmetrics().decode().splitlines() == [
        "# HELP events Events.",
        "# TYPE events counter",
        r'events_total{type="run_started",agent="od\"d\n\\"} 3',
        *some_metrics().render().decode().splitlines()[3:],
        "# EOF",
    ]


def test_exemplars_name_the_trace_in_openmetrics_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "time", lambda: 1700000000.25)
    metrics = Metrics()
    seconds = metrics.histogram("step_seconds", "Steps.", labels=("agent",), buckets=(1.0,)).labels("a")
    seconds.observe(0.25, RUN)
    seconds.observe(0.5)  # without a run: the exemplar before it stays
    seconds.observe(7.0, RUN)
    metrics.counter("doubts_total", "Doubts.").labels().inc(1, RUN)
    assert metrics.render_openmetrics().decode().splitlines()[2:] == [
        f'step_seconds_bucket{{agent="a",le="1.0"}} 2 # {{trace_id="{TRACE}"}} 0.25 1700000000.250',
        f'step_seconds_bucket{{agent="a",le="+Inf"}} 3 # {{trace_id="{TRACE}"}} 7 1700000000.250',
        'step_seconds_sum{agent="a"} 7.75',
        'step_seconds_count{agent="a"} 3',
        "# HELP doubts Doubts.",
        "# TYPE doubts counter",
        f'doubts_total 1 # {{trace_id="{TRACE}"}} 1 1700000000.250',
        "# EOF",
    ]
    assert TRACE not in metrics.render().decode()


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        ("", "text"),
        ("*/*", "text"),
        ("text/plain", "text"),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "openmetrics",
        ),
        ("application/openmetrics-text; version=1.0.0; q=0.2, text/plain; q=0.7", "text"),
        ("application/openmetrics-text;q=0", "text"),
        ("application/openmetrics-text;q=much", "text"),
        ("Application/OpenMetrics-Text", "openmetrics"),
    ],
)
def test_the_scraper_chooses_the_format(accept: str, answer: str) -> None:
    assert exposition.chosen(accept) == answer


def test_large_counts_keep_every_digit() -> None:
    metrics = Metrics()
    metrics.counter("n_total", "N.").labels().inc(123_456_789_012)
    assert b"n_total 123456789012\n" in metrics.render()


def test_a_label_that_users_fill_is_bounded_and_leaves_the_others_right() -> None:
    metrics = Metrics()
    family = metrics.counter("calls_total", "Calls.", labels=("tool", "outcome"))
    for number in range(MAX_LABEL_VALUES + 50):
        family.labels(f"tool-{number}", "ok" if number % 2 else "failed").inc()
    assert family.labels("other", "ok").value == 25
    assert family.labels("other", "failed").value == 25
    assert family.labels("tool-0", "failed").value == 1
    assert len(metrics.render().splitlines()) == MAX_LABEL_VALUES + 2 + 2


def test_the_series_of_a_metric_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SERIES", 5)
    family = Metrics().counter("calls_total", "Calls.", labels=("tool", "agent"))
    for tool in range(5):
        for agent in range(5):
            family.labels(f"t{tool}", f"a{agent}").inc()
    assert family.labels("other", "other").value == 20
    assert len(list(family.series())) == 6


def test_gauges_can_be_set_anew_as_a_whole() -> None:
    family = Metrics().gauge("runs", "Runs.", labels=("agent",))
    family.labels("gone").set(3)
    family.clear()
    family.labels("there").set(1)
    assert [values for values, _ in family.series()] == [("there",)]


def test_mistakes_are_named() -> None:
    metrics = Metrics()
    family = metrics.counter("calls_total", "Calls.", labels=("tool",))
    with pytest.raises(ContractError, match="calls_total"):
        family.labels()
    with pytest.raises(ContractError, match="defined twice"):
        metrics.counter("calls_total", "Again.")
    with pytest.raises(ContractError, match="_total"):
        metrics.counter("calls", "Calls.")


def test_what_a_convention_names_is_named_by_its_rules() -> None:
    assert INFERENCE_DURATION.name == "gen_ai_client_inference_duration_seconds"
    assert INFERENCE_DURATION.otel_name == "gen_ai.client.inference.duration"
    assert INFERENCE_DURATION.unit == "s"
    assert INPUT_TOKENS.name == "gen_ai_client_inference_usage_input_tokens_total"
    assert INPUT_TOKENS.labels[1] == "gen_ai_provider_name"
    assert INPUT_TOKENS.otel_attributes[1] == "gen_ai.provider.name"
    assert len({each.name for each in INSTRUMENTS}) == len(INSTRUMENTS)


def test_our_own_names_go_out_without_what_a_collector_adds_again() -> None:
    metrics = Metrics()
    seconds = metrics.histogram("waypost_commit_seconds", "Commits.").instrument
    assert (seconds.otel_name, seconds.unit) == ("waypost_commit", "s")
    assert metrics.counter("waypost_letters_total", "Letters.").instrument.otel_name == "waypost_letters"
