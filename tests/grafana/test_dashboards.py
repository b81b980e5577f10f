"""The dashboards are what their generator writes, Grafana's own types know every field of them, and kustomize makes ConfigMaps of them."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.grafana.queries import GRAFANA, dashboards
from tests.k8s.rendering import rendered

NAMES = list(dashboards())


def sources() -> dict[str, dict[str, Any]]:
    found = yaml.safe_load((GRAFANA / "datasources" / "waypost.yaml").read_text())["datasources"]
    return {source["uid"]: source for source in found}


def test_the_files_are_what_the_generator_writes() -> None:
    done = subprocess.run([sys.executable, "generate.py", "--check"], cwd=GRAFANA, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_grafana_knows_every_field(name: str) -> None:
    """What its types do not know is dropped on the way through them."""
    dashboard = dashboards()[name]
    assert list(lost(dashboard, Dashboard.from_json(dashboard), "")) == []


def lost(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    """Where something of ours is missing or different; theirs may have defaults beside it."""
    if hasattr(theirs, "to_json"):
        theirs = theirs.to_json()
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if value is not None:
                yield from lost(value, theirs.get(key), f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, value in enumerate(ours):
            yield from lost(value, theirs[index], f"{path}[{index}]")
    elif ours != theirs:
        yield f"{path}: {ours!r} became {theirs!r}"


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_types_that_there_are_and_sources_that_are_provisioned(name: str) -> None:
    known = sources()
    for panel in dashboards()[name]["panels"]:
        if panel["type"] == "row":
            continue
        module = {"traces": "tempo"}.get(panel["type"], panel["type"])
        importlib.import_module(f"grafana_foundation_sdk.models.{module}")
        for asked in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert known[asked["uid"]]["type"] == asked["type"], panel["title"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_do_not_overlap_and_fill_the_grid(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboards()[name]["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in dashboards()[name]["panels"]}) == len(dashboards()[name]["panels"])


def test_links_lead_to_dashboards_and_variables_that_there_are() -> None:
    by_uid = {dashboard["uid"]: dashboard for dashboard in dashboards().values()}
    texts = [path.read_text() for path in (*(GRAFANA / "dashboards").glob("*.json"), GRAFANA / "datasources" / "waypost.yaml")]
    found = {match for text in texts for match in re.findall(r"/d/([\w-]+)\?var-(\w+)=", text)}
    assert found
    for uid, variable in found:
        assert variable in {each["name"] for each in by_uid[uid]["templating"]["list"]}


def test_every_run_in_a_table_has_its_page_in_the_console() -> None:
    for dashboard in dashboards().values():
        variables = {each["name"]: each for each in dashboard["templating"]["list"]}
        for panel in dashboard["panels"]:
            for override in panel.get("fieldConfig", {}).get("overrides", []):
                (links,) = [each["value"] for each in override["properties"] if each["id"] == "links"]
                addresses = {link["title"]: link["url"] for link in links}
                assert addresses["Page of this run in the console"] == "${console}/runs/${__value.raw}", panel["title"]
                assert variables["console"]["current"]["value"].startswith("http")


def test_a_log_line_leads_to_its_trace_and_its_run() -> None:
    line = '{"event":"reasoning_step","run_id":"01890000-0000-7000-8000-00000000000a","trace_id":"0189000000007000800000000000000a"}'
    fields = {each["name"]: each for each in sources()["waypost-loki"]["jsonData"]["derivedFields"]}
    assert re.search(fields["Trace"]["matcherRegex"], line)[1] == "0189000000007000800000000000000a"  # type: ignore[index]
    assert re.search(fields["Run"]["matcherRegex"], line)[1] == "01890000-0000-7000-8000-00000000000a"  # type: ignore[index]
    assert fields["Trace"]["datasourceUid"] in sources()
    exemplars = sources()["waypost-prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplars[0]["datasourceUid"] == "waypost-tempo"


def test_kustomize_makes_what_sidecars_look_for() -> None:
    maps = {document["metadata"]["name"]: document for document in rendered("grafana")}
    assert {name: document["kind"] for name, document in maps.items()} == dict.fromkeys(maps, "ConfigMap")
    shown = maps["waypost-dashboards"]
    assert shown["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert {json.loads(text)["uid"] for text in shown["data"].values()} == {d["uid"] for d in dashboards().values()}
    assert maps["waypost-datasources"]["metadata"]["labels"]["grafana_datasource"] == "1"
    assert yaml.safe_load(maps["waypost-alert-rules"]["data"]["waypost.yaml"])["groups"]
    for document in maps.values():
        assert sum(map(len, document["data"].values())) < 1_000_000, "a ConfigMap holds 1 MiB"


def test_there_is_one_for_each_audience() -> None:
    assert NAMES == ["agents.json", "compliance.json", "operators.json"]
    assert Path(GRAFANA / "kustomization.yaml").exists()
