"""The few kinds of panels that Waypost's dashboards are made of, as Grafana's JSON model has them."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

PROMETHEUS = {"type": "prometheus", "uid": "waypost-prometheus"}
POSTGRES = {"type": "grafana-postgresql-datasource", "uid": "waypost-postgres"}
TEMPO = {"type": "tempo", "uid": "waypost-tempo"}
Links = dict[str, list[tuple[str, str]]]
"""Column → (title, address) of each link, where `${__value.raw}` is the cell."""
CONSOLE = "http://127.0.0.1:8420"
"""Where browsers find the edge's console, unless somebody says otherwise in the dashboard's variable `console`."""
TO_RUN: Links = {
    "run": [
        ("Thought process of this run", "/d/waypost-agents?var-run=${__value.raw}&${__url_time_range}"),
        ("Page of this run in the console", "${console}/runs/${__value.raw}"),
    ]
}
WIDTH = 24
"""Columns of Grafana's grid."""
SCHEMA_VERSION = 41

GREEN_RED = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
GREEN_AMBER = [{"color": "green", "value": None}, {"color": "orange", "value": 1}]


def series(title: str, *queries: tuple[str, str], unit: str = "short", text: str = "", width: int = 8, stacked: bool = False) -> Json:
    """A graph over time of (PromQL, legend) pairs, with exemplars where the metric has them."""
    custom: Json = {"fillOpacity": 10, "showPoints": "never", "lineWidth": 1}
    if stacked:
        custom |= {"stacking": {"group": "A", "mode": "normal"}, "fillOpacity": 30}
    return {
        "type": "timeseries",
        "title": title,
        "description": text,
        "datasource": PROMETHEUS,
        "gridPos": {"w": width, "h": 8},
        "targets": _targets(queries, instant=False),
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def number(title: str, query: str, *, unit: str = "short", text: str = "", width: int = 4, steps: list[Json] | None = None) -> Json:
    """One number as it is now."""
    return {
        "type": "stat",
        "title": title,
        "description": text,
        "datasource": PROMETHEUS,
        "gridPos": {"w": width, "h": 4},
        "targets": _targets([(query, "")], instant=True),
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "noValue": "0",
                "thresholds": {"mode": "absolute", "steps": steps or [{"color": "text", "value": None}]},
            },
            "overrides": [],
        },
        "options": {
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "textMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
        },
    }


def table(title: str, sql: str, *, text: str = "", width: int = WIDTH, height: int = 8, links: Links | None = None) -> Json:
    """Rows of the event log's database."""
    overrides = [
        {
            "matcher": {"id": "byName", "options": column},
            "properties": [{"id": "links", "value": [{"title": name, "url": address, "targetBlank": False} for name, address in found]}],
        }
        for column, found in (links or {}).items()
    ]
    return {
        "type": "table",
        "title": title,
        "description": text,
        "datasource": POSTGRES,
        "gridPos": {"w": width, "h": height},
        "targets": [{"refId": "A", "datasource": POSTGRES, "format": "table", "rawQuery": True, "editorMode": "code", "rawSql": sql}],
        "fieldConfig": {
            "defaults": {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": True}},
            "overrides": overrides,
        },
        "options": {"showHeader": True, "cellHeight": "sm"},
    }


def trace(title: str, trace_id: str, *, text: str = "", width: int = 12, height: int = 18) -> Json:
    """One trace as a timeline of spans."""
    return {
        "type": "traces",
        "title": title,
        "description": text,
        "datasource": TEMPO,
        "gridPos": {"w": width, "h": height},
        "targets": [{"refId": "A", "datasource": TEMPO, "queryType": "traceql", "query": trace_id}],
        "fieldConfig": {"defaults": {}, "overrides": []},
        "options": {},
    }


def row(title: str) -> Json:
    """A heading."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": WIDTH, "h": 1}}


def choice(name: str, label: str, query: str) -> Json:
    """A variable with every value of a label, all of them at first."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": "variable"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "options": [],
    }


def typed(name: str, label: str, value: str = "") -> Json:
    """A variable that is typed in, or filled by a link; `value` at first."""
    return {"type": "textbox", "name": name, "label": label, "query": value, "current": {"text": value, "value": value}, "options": []}


def derived(name: str, sql: str) -> Json:
    """A hidden variable that follows from others."""
    return {
        "type": "query",
        "name": name,
        "hide": 2,
        "datasource": POSTGRES,
        "query": sql,
        "refresh": 2,
        "multi": False,
        "includeAll": False,
        "current": {},
        "options": [],
    }


def dashboard(uid: str, title: str, text: str, panels: list[Json], *, variables: list[Json] | None = None, since: str = "now-3h") -> Json:
    """A dashboard whose panels flow from left to right, row by row. Positions and ids follow from the order."""
    x = y = height = 0
    for number_, panel in enumerate(panels, 1):
        size = panel["gridPos"]
        if x + size["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        panel["id"] = number_
        panel["gridPos"] = {"x": x, "y": y, **size}
        x, height = x + size["w"], max(height, size["h"])
    return {
        "uid": uid,
        "title": title,
        "description": text,
        "tags": ["waypost"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "browser",
        "time": {"from": since, "to": "now"},
        "templating": {"list": variables or []},
        "annotations": {"list": []},
        "links": [
            {
                "title": "Waypost",
                "type": "dashboards",
                "tags": ["waypost"],
                "asDropdown": False,
                "includeVars": False,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
                "tooltip": "",
                "url": "",
            }
        ],
        "panels": panels,
    }


def _targets(queries: Any, *, instant: bool) -> list[Json]:
    return [
        {
            "refId": chr(ord("A") + index),
            "datasource": PROMETHEUS,
            "expr": " ".join(expression.split()),
            "legendFormat": legend,
            "instant": instant,
            "range": not instant,
            "exemplar": not instant and "_bucket" in expression,
            "editorMode": "code",
        }
        for index, (expression, legend) in enumerate(queries)
    ]


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    """PromQL: a quantile of a histogram over the last interval."""
    groups = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({groups}) (rate({metric}_bucket{where}[$__rate_interval])))"


def rate(metric: str, by: str = "", where: str = "") -> str:
    """PromQL: how often per second."""
    groups = f" by ({by})" if by else ""
    return f"sum{groups} (rate({metric}{where}[$__rate_interval]))"
