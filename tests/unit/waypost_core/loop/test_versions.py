"""The same programs do the same in every process and on every supported Python (CORRECTNESS.md row 18)."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import waypost_core
import waypost_proto
from tests.programs import pythons
from tests.unit.waypost_core.loop import programs

SEEDS = (0, 1000)
"""None of 6,000 programs differs between 3.11, 3.12 and 3.13."""


@cache
def stories(python: str, hash_seed: str) -> str:
    roots = [str(Path(package.__file__ or "").parents[1]) for package in (waypost_core, waypost_proto)]
    script = Path(programs.__file__)
    done = subprocess.run(
        [python, "-W", "ignore", str(script), *map(str, SEEDS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_row_18_two_processes_agree() -> None:
    first, second = stories(sys.executable, "1"), stories(sys.executable, "2")
    assert first.count("\n") == SEEDS[1]
    assert first == second


def test_row_18_versions_agree() -> None:
    others = pythons.others()
    if not others:
        pytest.skip("no other Python from 3.11 up is at hand (looked on PATH and in pyenv's folders)")
    for python in others.values():
        assert stories(python, "3") == stories(sys.executable, "1"), python


def test_programs_are_not_trivial() -> None:
    """Every kind of program occurs, and most of them wait for something."""
    lines = stories(sys.executable, "1").splitlines()
    text = "".join(lines)
    for word in ('"ask"', '"timer"', '"cancel"', '"fire"', '"timed out"', '"shielded"', '"generator closed"', '"notified"', '"gathered"'):
        assert text.count(word) > 20, word
