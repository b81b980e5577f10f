"""What a metric is called, in Prometheus and in OpenTelemetry. Pure names; `metrics` keeps the numbers.

Prometheus has underscores and puts the unit and `_total` into the name; OpenTelemetry has dots and keeps the unit beside it. A
convention's metric is built from its OpenTelemetry name (`of_convention`); our own from its Prometheus name, and a collector that turns
OTLP into Prometheus arrives at that same name again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]

_UNITS = {"_seconds": "s", "_bytes": "By"}


class Instrument(NamedTuple):
    """One metric. `attributes` are the OpenTelemetry names of `labels`, in the same order."""

    name: str
    text: str
    kind: Kind
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    convention: str = ""
    """Its OpenTelemetry name where a convention gives it, "" for our own."""
    convention_unit: str = ""
    attributes: tuple[str, ...] = ()

    @property
    def otel_name(self) -> str:
        """The name that goes out by OTLP."""
        return self.convention or self._stem()[0]

    @property
    def unit(self) -> str:
        """The UCUM unit that goes out by OTLP, "" if it is a plain number."""
        return self.convention_unit or self._stem()[1]

    @property
    def otel_attributes(self) -> tuple[str, ...]:
        """The names of the labels that go out by OTLP."""
        return self.attributes or self.labels

    def _stem(self) -> tuple[str, str]:
        name = self.name.removesuffix("_total") if self.kind == "counter" else self.name
        for suffix, unit in _UNITS.items():
            if name.endswith(suffix):
                return name.removesuffix(suffix), unit
        return name, ""


def of_convention(name: str, kind: Kind, unit: str, text: str, attributes: tuple[str, ...], buckets: tuple[float, ...] = ()) -> Instrument:
    """A metric that a convention names, under the name that the OpenTelemetry-to-Prometheus rules give it."""
    suffix = "_seconds" if unit == "s" else ""
    prometheus = name.replace(".", "_") + suffix + ("_total" if kind == "counter" else "")
    labels = tuple(each.replace(".", "_") for each in attributes)
    return Instrument(prometheus, text, kind, labels, buckets, name, unit, attributes)
