"""docs/metrics.md: its metrics are those of the code, none missing and none too many."""

from __future__ import annotations

import ast
import re

from tests.unit.docs.pages import ROOT, text_of
from waypost_core import genai
from waypost_io import genai_metrics, metrics, otlp_metrics

PAGE = text_of("metrics.md")


def metrics_of_the_code() -> dict[str, list[str]]:
    """Name and labels of every metric that some service defines."""
    found = {each.name: list(each.labels) for each in genai_metrics.INSTRUMENTS if f"genai_metrics.{_constant(each)}" in _CODE}
    for root in ("services", "shared"):
        for path in sorted((ROOT / root).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(func=ast.Attribute(attr="counter" | "gauge" | "histogram"), args=[ast.Constant(value=str(name)), *_]):
                        labels = [ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg == "labels"]
                        found[name] = list(labels[0]) if labels else []
    return found


_CODE = "\n".join(path.read_text() for path in sorted((ROOT / "services").rglob("*.py")))


def _constant(instrument: object) -> str:
    return next(name for name, value in vars(genai_metrics).items() if value is instrument)


def test_every_metric_is_there() -> None:
    shown = re.findall(r"^\| `(\w+)(?:\{(.*)\})?` \|", PAGE, re.MULTILINE)
    found = {name: labels.split(",") if labels else [] for name, labels in shown if not name.isupper()}
    assert found == metrics_of_the_code()


def test_the_conventions_are_named_with_their_commit() -> None:
    assert genai.CONVENTIONS_COMMIT in PAGE
    defined = metrics_of_the_code()
    assert all(instrument.name in defined for instrument in genai_metrics.INSTRUMENTS)


def test_the_limits_are_those_of_the_code() -> None:
    words = " ".join(PAGE.split())
    assert f"at most {metrics.MAX_LABEL_VALUES} values" in words
    assert f"at most {metrics.MAX_SERIES:,} series" in words
    assert f"{otlp_metrics.INTERVAL_MILLIS} by default" in words
