"""A real Prometheus scrapes real services: it understands both what they say and the exemplars beside it, and evaluates every query."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from tests.grafana.programs import program
from tests.grafana.queries import RULES, promql
from tests.grafana.scenario import Site, http_get
from tests.waiting import wait_until


class Prometheus:
    """One that runs, on loopback."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def ask(self, path: str) -> Any:
        answer = json.loads(await http_get(self.port, f"/api/v1/{path}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    async def query(self, expression: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.ask(f"query?query={quote(expression)}"))["result"]
        return found


@pytest.fixture
async def prometheus(site: Site, free_port: int, tmp_path: Path) -> AsyncIterator[Prometheus]:
    binary = program("prometheus")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "waypost", "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in site.ops_ports.values()]}]},
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    process = await asyncio.create_subprocess_exec(
        binary,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{free_port}",
        "--enable-feature=exemplar-storage",
        "--log.level=warn",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=(tmp_path / "log").open("wb"),
    )
    found = Prometheus(free_port)
    try:
        await wait_until(lambda: found.ask("status/buildinfo"), ignore=(OSError, ValueError), message=(tmp_path / "log").read_text)
        yield found
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def scraped(prometheus: Prometheus, count: int) -> list[dict[str, Any]]:
    targets = (await prometheus.ask("targets"))["activeTargets"]
    return targets if len(targets) == count and all(target["health"] == "up" for target in targets) else []


@pytest.mark.slow
async def test_it_scrapes_every_service_and_evaluates_every_query(site: Site, prometheus: Prometheus) -> None:
    assert await wait_until(lambda: scraped(prometheus, len(site.ops_ports)))
    ended = await wait_until(lambda: prometheus.query('waypost_runs_ended_total{agent="desk",status="completed"}'))
    assert float(ended[0]["value"][1]) >= 1
    for where, query in promql():
        assert isinstance(await prometheus.query(query), list), where

    trace_id = site.finished.replace("-", "")
    found = await wait_until(lambda: exemplars(prometheus, "gen_ai_invoke_agent_duration_seconds_bucket"))
    assert trace_id in found, "it asks for OpenMetrics, and keeps the run behind a bucket"

    alerts = await wait_until(
        lambda: alerting(prometheus, "WaypostCallsInDoubt", "WaypostApprovalsExpire"), message="rules that should fire"
    )
    # a call of "owing" is in doubt too, until its hook has settled it
    assert "doubtful" in {alert["labels"]["agent"] for alert in alerts if alert["labels"]["alertname"] == "WaypostCallsInDoubt"}
    broken = [rule["name"] for group in (await prometheus.ask("rules"))["groups"] for rule in group["rules"] if rule["health"] != "ok"]
    assert broken == []


async def exemplars(prometheus: Prometheus, metric: str) -> set[str]:
    found = await prometheus.ask(f"query_exemplars?query={metric}&start=0&end=9999999999")
    return {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}


async def alerting(prometheus: Prometheus, *names: str) -> list[dict[str, Any]]:
    """The alerts, once all of these are pending or fire."""
    found = (await prometheus.ask("alerts"))["alerts"]
    return found if {alert["labels"]["alertname"] for alert in found} >= set(names) else []
