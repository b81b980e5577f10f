"""Hundreds of short simulations, and a few that must fail, in the normal suite; thousands and longer ones by command (docs/simulation.md).

They run in processes of their own, because a replay needs a fixed hash seed and a machine that is simulated as a whole.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 600.0
SEEDS, LONGER_SEEDS = 20, 300


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


@pytest.mark.timeout(LIMIT_SECONDS)
def test_no_seed_violates_anything() -> None:
    done = simulate("--seeds", str(SEEDS), "--orders", "3", "--seconds", "7")
    assert done.returncode == 0, f"{done.stdout[-8_000:]}\n{done.stderr[-4_000:]}"


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_SECONDS)
def test_no_longer_seed_violates_anything() -> None:
    done = simulate("--seeds", str(LONGER_SEEDS), "--from", "100000")
    assert done.returncode == 0, f"{done.stdout[-8_000:]}\n{done.stderr[-4_000:]}"


@pytest.mark.slow
@pytest.mark.timeout(2 * LIMIT_SECONDS)
def test_every_broken_variant_is_noticed() -> None:
    done = simulate("--mutants", "--seeds", "400", "--orders", "4", "--seconds", "10")
    assert done.returncode == 0, f"{done.stdout[-8_000:]}\n{done.stderr[-4_000:]}"
    assert done.stdout.count(": seed ") == len(MUTANTS), done.stdout


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_SECONDS)
def test_a_seed_replays_exactly() -> None:
    """Seed 694 has kills, a wipe and an outage."""
    first, again = simulate("--seed", "694", "-v"), simulate("--seed", "694", "-v")
    assert "digest" in first.stdout, first.stderr[-4_000:]
    for number, (one, other) in enumerate(zip(first.stdout.splitlines(), again.stdout.splitlines(), strict=False), 1):
        assert one.partition(" simulated")[0] == other.partition(" simulated")[0], f"line {number} differs: {one!r} and {other!r}"
        if one.startswith("seed 694"):
            break


@pytest.mark.slow
@pytest.mark.timeout(LIMIT_SECONDS)
def test_the_invariants_can_fail() -> None:
    done = simulate("--seed", "1", "--sabotage")
    assert done.returncode == 1
    assert "the log has the seqs" in done.stdout, done.stdout[-4_000:]
    assert ": 2 effects" in done.stdout, done.stdout[-4_000:]
