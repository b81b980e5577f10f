"""Every query that dashboards, their variables and alert rules hold, and which metrics and labels a PromQL query names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "k8s" / "grafana"
RULES = GRAFANA / "rules" / "waypost.yaml"
_KEYWORDS = frozenset(
    {"by", "without", "on", "ignoring", "group_left", "group_right", "and", "or", "unless", "bool", "offset", "inf", "nan"}
)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[a-zA-Z_:][\w:]*|\[[^\]]*\]|[{}(),]|=~|!~|!=|==|=|\d[\w.]*|\S')
_NAME = re.compile(r"[a-zA-Z_:][\w:]*$")
VARIABLES = {"$__rate_interval": "5m", "$__interval": "1m", "${agent:csv}": "desk", "$agent": ".*", "$run": "", "$trace": ""}


@dataclass
class Named:
    """What a PromQL query names: metrics with the labels (and literal values) they are selected by, and the labels it groups by."""

    metrics: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)


def named(query: str) -> Named:
    """Read a query. Raises `AssertionError` for what it cannot read."""
    found = Named()
    tokens = [*_TOKEN.findall(query), ""]
    index = 0
    while index < len(tokens) - 1:
        token, following = tokens[index], tokens[index + 1]
        if token in ("by", "without", "on", "ignoring"):
            assert following == "(", query
            end = tokens.index(")", index)
            found.groups |= {each for each in tokens[index + 2 : end] if each != ","}
            index = end
        elif _NAME.match(token) and token not in _KEYWORDS and following not in ("(", "by", "without"):
            end = tokens.index("}", index) if following == "{" else index
            _select(found.metrics.setdefault(token, {}), tokens[index + 2 : end])
            index = end
        index += 1
    return found


def _select(selected: dict[str, set[str]], inner: list[str]) -> None:
    """Take in what stands between a selector's braces."""
    for at, each in enumerate(inner):
        if each in ("=", "!=", "=~", "!~"):
            selected.setdefault(inner[at - 1], set()).update({inner[at + 1].strip('"')} if each == "=" else ())


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted((GRAFANA / "dashboards").glob("*.json"))}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """(dashboard and title, panel) of every panel that asks something."""
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            if panel["type"] != "row":
                yield f"{name}: {panel['title']}", panel


def promql() -> Iterator[tuple[str, str]]:
    """(where, query) of every PromQL query, variables of Grafana replaced."""
    for where, panel in panels():
        for target in panel["targets"]:
            if "expr" in target:
                yield where, filled(target["expr"])
    for group in rules()["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def sql() -> Iterator[tuple[str, str]]:
    """(where, query) of every SQL query, as it is written."""
    for where, panel in panels():
        for target in panel["targets"]:
            if "rawSql" in target:
                yield where, target["rawSql"]
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query" and isinstance(variable["query"], str):
                yield f"{name}: ${variable['name']}", variable["query"]


def label_values() -> Iterator[tuple[str, str, str]]:
    """(where, metric, label) of every variable that lists a label's values."""
    for name, dashboard in dashboards().items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query" and isinstance(variable["query"], dict):
                match = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
                assert match is not None, variable
                yield f"{name}: ${variable['name']}", match[1], match[2]


def rules() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(RULES.read_text())
    return found


def filled(query: str) -> str:
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query
