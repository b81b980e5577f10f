"""Runs go from one Python to another after each crash, and whole campaigns run on each Python at hand."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.programs import pythons
from tests.programs.campaign import run_batch
from tests.programs.hosts import Elsewhere, Here
from tests.programs.properties import PROPERTIES, Tally

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
EXAMPLES = 120


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every other Python from 3.11 up, each in an environment of its own."""
    found = pythons.others()
    if not found:
        pytest.skip("no other Python from 3.11 up is at hand (looked on PATH and in pyenv's folders)")
    return {version: pythons.prepare(path, tmp_path_factory.mktemp("python") / version) for version, path in found.items()}


@pytest.fixture(scope="module")
def elsewhere(prepared: dict[str, str]) -> Iterator[list[Elsewhere]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Elsewhere(python)) for python in prepared.values()]


@pytest.mark.parametrize("name", PROPERTIES)
def test_runs_go_on_on_other_pythons(name: str, elsewhere: list[Elsewhere]) -> None:
    tally = Tally()
    run_batch(PROPERTIES[name], 1, EXAMPLES, [Here(), *elsewhere], tally)
    assert tally.examples >= EXAMPLES


def test_campaigns_on_other_pythons(prepared: dict[str, str]) -> None:
    for python in prepared.values():
        command = [python, "-m", "tests.programs", "--examples", str(2 * EXAMPLES), "--seed", "2"]
        done = subprocess.run(
            command, env=pythons.environment(), cwd=pythons.ROOT, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
        assert "0 failed" in done.stdout


def test_a_python_is_prepared_once(prepared: dict[str, str], tmp_path: Path) -> None:
    python = next(iter(prepared.values()))
    assert pythons.prepare(python, Path(python).parents[1]) == python
    with pytest.raises(RuntimeError, match="ended with"):
        pythons.prepare("/bin/false", tmp_path / "none")
