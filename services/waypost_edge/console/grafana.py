"""Addresses of traces in Grafana's Explore, for edges that know where their people's Grafana is. Pure.

The address is what Grafana itself writes since version 10 (`schemaVersion=1`, `panes`): a query of a Tempo data source whose text is a
trace id, and the span that its view opens at.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

import msgspec

from waypost_io.settings import DEFAULT_TRACES_SOURCE

TRACE, SPAN = "__trace__", "__span__"
"""Stand for the ids in a `pattern`."""
ROOM_MS = 60_000
"""Before the run's start and after its end: Grafana rounds, and clocks differ."""


@dataclass(frozen=True, slots=True)
class Grafana:
    """Where it is (`WAYPOST_GRAFANA_URL`), and the uid of its data source of traces (`WAYPOST_GRAFANA_TRACES_UID`)."""

    url: str
    source: str = DEFAULT_TRACES_SOURCE

    def trace(self, run_id: str, began: float | None, ended: float | None, *, span_id: str = "") -> str:
        """The address of a run's trace, at one of its spans if one is named. Times are Unix seconds; None: not known, and not yet."""
        return self._explore(run_id.replace("-", ""), span_id, _range(began, ended))

    def pattern(self, began: float | None, ended: float | None) -> str:
        """The same with `TRACE` and `SPAN` where the ids go."""
        return self._explore(TRACE, SPAN, _range(began, ended))

    def _explore(self, trace_id: str, span_id: str, shown: dict[str, str]) -> str:
        source = {"type": "tempo", "uid": self.source}
        pane: dict[str, object] = {
            "datasource": self.source,
            "queries": [{"refId": "A", "datasource": source, "queryType": "traceql", "query": trace_id}],
            "range": shown,
        }
        if span_id:
            pane["panelsState"] = {"trace": {"spanId": span_id}}
        panes = msgspec.json.encode({"run": pane}).decode()
        return f"{self.url.rstrip('/')}/explore?{urlencode({'schemaVersion': '1', 'panes': panes})}"


def _range(began: float | None, ended: float | None) -> dict[str, str]:
    first = "now-24h" if began is None else str(round(began * 1000) - ROOM_MS)
    return {"from": first, "to": "now" if ended is None else str(round(ended * 1000) + ROOM_MS)}
