"""The command that storms a deployment, for a short while under fixed seeds. `python -m tests.chaos` goes on for hours: docs/chaos.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--minutes", "0.1", "--trouble", "8", "--pause", "1", "--longest", "4", "--json"]
CALM_SECONDS = 170


def chaos(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command, with its files in that folder."""
    environment = dict(os.environ) | ({} if folder is None else {"TMPDIR": str(folder)})
    command = [sys.executable, "-m", "tests.chaos", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=CALM_SECONDS, check=False)


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [11, 12])
def test_a_short_storm_breaks_no_promise(seed: int, tmp_path: Path) -> None:
    tally = tmp_path / "tally.jsonl"
    done = chaos("--seed", str(seed), "--tally", str(tally), *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    (line,) = [json.loads(line) for line in tally.read_text().splitlines()]
    assert report["ok"]
    assert line["seed"] == seed
    assert line["violations"] == []
    assert sum(line["faults"].values()) >= 3
    assert line["runs"] >= line["orders"] >= 5
    told = chaos("--sum", str(tally)).stdout
    assert all(f"{kind:22}{count:7}" in told for kind, count in line["faults"].items())


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_breaks_a_promise_is_told_and_kept(server_dir: Path) -> None:
    folder = server_dir / "storm"
    folder.mkdir()
    done = chaos("--seed", "13", *SHORT[:2], "--trouble", "2", "--longest", "1", "--orders", "3", "--sabotage", folder=folder)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 effects" in done.stdout
    assert "the log has the seqs" in done.stdout
    (kept,) = folder.iterdir()
    assert f"kept for examination: {kept}" in done.stdout
    assert {path.name for path in kept.iterdir()} >= {"logs", "effects.jsonl", "postgres", "report.json"}
    assert (kept / "postgres" / "PG_VERSION").exists()
    assert not json.loads((kept / "report.json").read_text())["ok"]


def test_a_wrong_option_is_told() -> None:
    done = chaos("--only", "rain")
    assert done.returncode == 2
    assert "no such fault: rain" in done.stderr
