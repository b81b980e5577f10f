"""Metrics as text: the Prometheus format 0.0.4, and OpenMetrics 1.0.0 with exemplars (the run behind an observation).

A scraper says which one it takes in its `Accept` header; `chosen` reads that. Bucket bounds are written alike in both (`1.0`), so that a
series is the same whatever was negotiated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from waypost_io.metrics import AnyFamily, Counter, Exemplar, Gauge, Histogram

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def chosen(accept: str) -> Literal["text", "openmetrics"]:
    """What to answer a request with this `Accept` header with: OpenMetrics if it is wanted at least as much as plain text."""
    wishes: dict[str, float] = {}
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        wishes[kind] = max(wishes.get(kind, 0.0), _quality(parameters))
    text_wish = max(wishes.get(kind, 0.0) for kind in ("text/plain", "text/*", "*/*"))
    return "openmetrics" if wishes.get("application/openmetrics-text", 0.0) >= max(text_wish, 0.001) else "text"


def text(families: Iterable[AnyFamily]) -> bytes:
    """The Prometheus text format."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# HELP {family.name} {_help(family.instrument.text)}")
        lines.append(f"# TYPE {family.name} {family.instrument.kind}")
        lines.extend(_samples(family, exemplars=False))
    return ("\n".join(lines) + "\n").encode()


def openmetrics(families: Iterable[AnyFamily]) -> bytes:
    """The OpenMetrics text format, with exemplars."""
    lines: list[str] = []
    for family in families:
        name = family.name.removesuffix("_total") if family.instrument.kind == "counter" else family.name
        lines.append(f"# HELP {name} {_help(family.instrument.text)}")
        lines.append(f"# TYPE {name} {family.instrument.kind}")
        lines.extend(_samples(family, exemplars=True))
    return ("\n".join([*lines, "# EOF"]) + "\n").encode()


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _samples(family: AnyFamily, *, exemplars: bool) -> Iterator[str]:
    for values, series in family.series():
        own = ",".join(f'{name}="{_escaped(value)}"' for name, value in zip(family.label_names, values, strict=True))
        if family.instrument.kind == "histogram":
            yield from _buckets(family.name, own, series, exemplars=exemplars)  # type: ignore[arg-type]  # the kind says so
        else:
            yield _single(family.name, own, series, exemplars=exemplars)  # type: ignore[arg-type]


def _single(name: str, own: str, series: Counter | Gauge, *, exemplars: bool) -> str:
    line = f"{name}{{{own}}} {series.value:.17g}" if own else f"{name} {series.value:.17g}"
    return line + _exemplar(getattr(series, "exemplar", None)) if exemplars else line


def _buckets(name: str, own: str, series: Histogram, *, exemplars: bool) -> Iterator[str]:
    front = f"{own}," if own else ""
    total = 0
    for index, count in enumerate(series.counts):
        total += count
        bound = repr(float(series.bounds[index])) if index < len(series.bounds) else "+Inf"
        line = f'{name}_bucket{{{front}le="{bound}"}} {total}'
        yield line + _exemplar(series.exemplars.get(index)) if exemplars else line
    labels = f"{{{own}}}" if own else ""
    yield f"{name}_sum{labels} {series.total:.17g}"
    yield f"{name}_count{labels} {total}"


def _exemplar(exemplar: Exemplar | None) -> str:
    if exemplar is None:
        return ""
    trace_id = exemplar.run_id.replace("-", "")
    return f' # {{trace_id="{_escaped(trace_id)}"}} {exemplar.value:.17g} {exemplar.at:.3f}'


def _help(words: str) -> str:
    return words.replace("\\", r"\\").replace("\n", r"\n")


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
