"""Counters, gauges and histograms of one process: what `/metrics` shows and what goes out by OTLP.

    metrics = Metrics()
    events = metrics.counter("waypost_events_total", "Events committed.", labels=("type",))
    started = events.labels("run_started")     # once
    started.inc()                              # hot path: one addition
    seconds.observe(0.2, run_id)               # with an exemplar: the run whose trace shows why

Owns a few numbers per process and their bounds; `exposition` writes them as text, `otlp_metrics` sends them. No threads and no locks:
everything happens on the event loop.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from time import time
from typing import Generic, Literal, NamedTuple, TypeVar

from waypost_io import exposition
from waypost_io.instruments import Instrument
from waypost_proto.errors import ContractError

DEFAULT_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_LABEL_VALUES = 200
"""Values of one label of one metric. Agents, tools and models are named by users: beyond it a value counts as `other`, and the metric's
other labels stay right."""
MAX_SERIES = 2_000
"""Series of one metric; beyond it every label of a new one is `other`."""
OTHER = "other"

Kind = Literal["counter", "gauge", "histogram"]


class Exemplar(NamedTuple):
    """One observation and the run it was made of; the run id's hex digits are the trace id."""

    run_id: str
    value: float
    at: float
    """Unix seconds."""


class Counter:
    """Only rises."""

    __slots__ = ("_read", "_value", "exemplar")

    def __init__(self) -> None:
        self._value = 0.0
        self._read: Callable[[], float] | None = None
        self.exemplar: Exemplar | None = None

    def inc(self, amount: float = 1.0, run_id: str = "") -> None:
        """Add `amount`, which is not negative; `run_id` is kept as the exemplar."""
        self._value += amount
        if run_id:
            self.exemplar = Exemplar(run_id, amount, time())

    def follow(self, read: Callable[[], float]) -> None:
        """Ask `read`, which only rises, at every scrape; it must be quick and may not raise."""
        self._read = read

    @property
    def value(self) -> float:
        return self._read() if self._read is not None else self._value


class Gauge:
    """A value that goes up and down, set or read from a function at each scrape."""

    __slots__ = ("_read", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._read: Callable[[], float] | None = None

    def set(self, value: float) -> None:
        self._value = value

    def follow(self, read: Callable[[], float]) -> None:
        """Ask `read` at every scrape; it must be quick and may not raise."""
        self._read = read

    @property
    def value(self) -> float:
        return self._read() if self._read is not None else self._value


class Histogram:
    """How observations spread over buckets (upper bounds, inclusive). `counts` are per bucket, the last one is above every bound."""

    __slots__ = ("bounds", "counts", "exemplars", "total")

    def __init__(self, bounds: tuple[float, ...] = DEFAULT_BUCKETS_SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] = {}
        """The last one of each bucket that has any."""

    def observe(self, value: float, run_id: str = "", at: float = 0.0) -> None:
        """Count `value`; `run_id` is kept as the exemplar of its bucket, with the time `at` (Unix seconds; 0: now)."""
        bucket = bisect.bisect_left(self.bounds, value)
        self.counts[bucket] += 1
        self.total += value
        if run_id:
            self.exemplars[bucket] = Exemplar(run_id, value, at or time())


M = TypeVar("M", Counter, Gauge, Histogram)


class Family(Generic[M]):
    """One metric name with a series per combination of label values."""

    def __init__(self, instrument: Instrument, make: Callable[[], M]) -> None:
        self.instrument = instrument
        self.name, self.label_names = instrument.name, instrument.labels
        self._make: Callable[[], M] = make
        self._series: dict[tuple[str, ...], M] = {}
        self._known: tuple[set[str], ...] = tuple(set() for _ in instrument.labels)

    def labels(self, *values: str) -> M:
        """The series of these values, made on first use. Keep it where the path is hot."""
        series = self._series.get(values)
        return self._new(values) if series is None else series

    def series(self) -> Iterator[tuple[tuple[str, ...], M]]:
        """(label values, series), in the order in which they came up."""
        yield from self._series.items()

    def clear(self) -> None:
        """Forget every series: for gauges that are set anew as a whole. Series that somebody keeps are no longer shown."""
        self._series.clear()
        for known in self._known:
            known.clear()

    def _new(self, values: tuple[str, ...]) -> M:
        if len(values) != len(self.label_names):
            raise ContractError(f"metric {self.name} has the labels {self.label_names}, got the values {values}")
        bounded = tuple(_bounded(known, value) for known, value in zip(self._known, values, strict=True))
        if bounded not in self._series and len(self._series) >= MAX_SERIES:
            bounded = (OTHER,) * len(values)
        series = self._series.get(bounded)
        if series is None:
            series = self._series[bounded] = self._make()
        return series


AnyFamily = Family[Counter] | Family[Gauge] | Family[Histogram]
F = TypeVar("F", Family[Counter], Family[Gauge], Family[Histogram])


class Metrics:
    """The metrics of one process. Each name is defined once."""

    def __init__(self) -> None:
        self._families: dict[str, AnyFamily] = {}

    def counter(self, name: str, text: str, *, labels: tuple[str, ...] = ()) -> Family[Counter]:
        """Define a counter, whose name ends in `_total`; without labels use `.labels()` to get it."""
        if not name.endswith("_total"):
            raise ContractError(f"counter {name} must end in _total: scrapers take what does not for something else")
        return self._define(Family(Instrument(name, text, "counter", labels), Counter))

    def gauge(self, name: str, text: str, *, labels: tuple[str, ...] = ()) -> Family[Gauge]:
        """Define a gauge."""
        return self._define(Family(Instrument(name, text, "gauge", labels), Gauge))

    def histogram(
        self, name: str, text: str, *, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = DEFAULT_BUCKETS_SECONDS
    ) -> Family[Histogram]:
        """Define a histogram with rising bucket bounds."""
        return self._define(Family(Instrument(name, text, "histogram", labels), lambda: Histogram(buckets)))

    def counter_of(self, instrument: Instrument) -> Family[Counter]:
        """Define a counter that a convention names."""
        return self._define(Family(instrument, Counter))

    def histogram_of(self, instrument: Instrument) -> Family[Histogram]:
        """Define a histogram that a convention names."""
        return self._define(Family(instrument, lambda: Histogram(instrument.buckets)))

    def families(self) -> Iterator[AnyFamily]:
        """In the order in which they were defined."""
        yield from self._families.values()

    def render(self) -> bytes:
        """Everything in the Prometheus text format (version 0.0.4)."""
        return exposition.text(self.families())

    def render_openmetrics(self) -> bytes:
        """Everything in the OpenMetrics text format (version 1.0.0), with exemplars."""
        return exposition.openmetrics(self.families())

    def _define(self, family: F) -> F:
        if family.name in self._families:
            raise ContractError(f"metric {family.name} is defined twice; define it once and pass it on")
        self._families[family.name] = family
        return family


def _bounded(known: set[str], value: str) -> str:
    if value not in known:
        if len(known) >= MAX_LABEL_VALUES:
            return OTHER
        known.add(value)
    return value
