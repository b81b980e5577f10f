"""The alert rules: promtool reads them, each fires when it should and not before, and each has its place in docs/alerts.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.grafana.programs import program
from tests.grafana.queries import ROOT, RULES, promql, rules

TESTS = Path(__file__).with_name("rules_test.yaml")
ALERTS = {rule["alert"]: rule for group in rules()["groups"] for rule in group["rules"]}


def promtool(*arguments: str, folder: Path) -> str:
    done = subprocess.run([program("promtool"), *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_passes_the_rules() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(RULES), folder=ROOT)


@pytest.mark.slow
def test_each_alert_is_quiet_first_and_fires_later(tmp_path: Path) -> None:
    found = rules()
    for group in found["groups"]:
        for rule in group["rules"]:
            del rule["annotations"]  # promtool wants each of them word by word
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(found))
    (tmp_path / "tests.yaml").write_text(TESTS.read_text())
    assert "SUCCESS" in promtool("test", "rules", "tests.yaml", folder=tmp_path)


def test_each_alert_is_tested() -> None:
    tested = {case["name"]: case for case in yaml.safe_load(TESTS.read_text())["tests"]}
    assert set(tested) == set(ALERTS)
    for name, case in tested.items():
        quiet, fires = case["alert_rule_test"]
        assert (quiet["alertname"], fires["alertname"]) == (name, name)
        assert not quiet["exp_alerts"]
        assert fires["exp_alerts"]


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_what_it_means_and_what_to_do(name: str) -> None:
    annotations = ALERTS[name]["annotations"]
    assert annotations["runbook_url"] == f"docs/alerts.md#{name.lower()}"
    assert ALERTS[name]["labels"]["severity"] in ("critical", "warning")
    text = (ROOT / "docs" / "alerts.md").read_text()
    section = re.search(rf"^### {name}\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/alerts.md has no section {name}"
    for part in ("**Means**", "**Look**", "**Do**"):
        assert part in section[1], f"{name}: {part}"


def test_no_page_tells_of_an_alert_that_is_not_there() -> None:
    text = (ROOT / "docs" / "alerts.md").read_text()
    assert set(re.findall(r"^### (Waypost\w+)$", text, re.MULTILINE)) == set(ALERTS)


def test_prometheus_can_read_every_query_of_the_dashboards(tmp_path: Path) -> None:
    records = [{"record": f"panel_{number}", "expr": query} for number, (_, query) in enumerate(promql())]
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    assert f"{len(records)} rules found" in promtool("check", "rules", "--lint=none", "panels.yaml", folder=tmp_path)
