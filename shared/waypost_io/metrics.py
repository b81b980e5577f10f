"""Counters, gauges and histograms for `/metrics`, in the Prometheus text format (version 0.0.4).

    metrics = Metrics()
    events = metrics.counter("waypost_events_total", "Events committed.", labels=("type",))
    started = events.labels("run_started")     # once
    started.inc()                              # hot path: one addition

Owns a few numbers per process. No threads: everything happens on the event loop.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from waypost_proto.errors import ContractError

DEFAULT_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MAX_SERIES = 1_000
"""Label values per metric; beyond it values go to one series `other`, so that names chosen by users cannot fill the memory."""


class Counter:
    """Only rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self, amount: float = 1.0) -> None:
        self.value += amount

    def samples(self) -> Iterator[tuple[str, str, float]]:
        yield "", "", self.value


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

    def samples(self) -> Iterator[tuple[str, str, float]]:
        yield "", "", self.value


class Histogram:
    """How observations spread over buckets (upper bounds, inclusive)."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...] = DEFAULT_BUCKETS_SECONDS) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    def samples(self) -> Iterator[tuple[str, str, float]]:
        """(suffix, own label, value), cumulative as the format wants them."""
        total = 0
        for bound, count in zip((*(f"{bound:g}" for bound in self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield "_bucket", f'le="{bound}"', total
        yield "_sum", "", self._sum
        yield "_count", "", total


M = TypeVar("M", Counter, Gauge, Histogram)


class Family(Generic[M]):
    """One metric name with a series per combination of label values."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], make: Callable[[], M]) -> None:
        self.name, self.text, self.label_names = name, text, labels
        self._make: Callable[[], M] = make
        self._series: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """The series of these values, made on first use. Keep it where the path is hot."""
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self.label_names):
                raise ContractError(f"metric {self.name} has the labels {self.label_names}, got the values {values}")
            if len(self._series) >= MAX_SERIES:
                values = ("other",) * len(values)
            series = self._series.setdefault(values, self._make())
        return series

    def render(self, kind: str) -> Iterator[str]:
        """The lines of this metric, its description first."""
        yield f"# HELP {self.name} {self.text}"
        yield f"# TYPE {self.name} {kind}"
        for values, series in self._series.items():
            own = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(self.label_names, values, strict=True))
            for suffix, extra, value in series.samples():
                labels = ",".join(filter(None, (own, extra)))
                yield f"{self.name}{suffix}{{{labels}}} {value:.17g}" if labels else f"{self.name}{suffix} {value:.17g}"


F = TypeVar("F", Family[Counter], Family[Gauge], Family[Histogram])


class Metrics:
    """The metrics of one process. Each name is defined once."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, Family[Counter] | Family[Gauge] | Family[Histogram]]] = {}

    def counter(self, name: str, text: str, *, labels: tuple[str, ...] = ()) -> Family[Counter]:
        """Define a counter; without labels use `.labels()` to get it."""
        return self._define("counter", Family(name, text, labels, Counter))

    def gauge(self, name: str, text: str, *, labels: tuple[str, ...] = ()) -> Family[Gauge]:
        """Define a gauge."""
        return self._define("gauge", Family(name, text, labels, Gauge))

    def histogram(
        self, name: str, text: str, *, labels: tuple[str, ...] = (), buckets: tuple[float, ...] = DEFAULT_BUCKETS_SECONDS
    ) -> Family[Histogram]:
        """Define a histogram with rising bucket bounds."""
        return self._define("histogram", Family(name, text, labels, lambda: Histogram(buckets)))

    def render(self) -> bytes:
        """Everything in Prometheus text format."""
        lines = [line for kind, family in self._families.values() for line in family.render(kind)]
        return ("\n".join(lines) + "\n").encode()

    def _define(self, kind: str, family: F) -> F:
        if family.name in self._families:
            raise ContractError(f"metric {family.name} is defined twice; define it once and pass it on")
        self._families[family.name] = (kind, family)
        return family


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
