"""docs/correctness.md: every row has tests or says why not, and every test that it names exists and is collected."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "correctness.md"
ROWS = range(1, 23)
TEST_NAME = re.compile(r"`([\w/]+\.py)::(\w+)`")


def rows() -> dict[int, str]:
    """Row number → the cell that says what shows it."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 4 and cells[0].isdigit():
            found[int(cells[0])] = cells[3]
    return found


@cache
def collected() -> frozenset[tuple[str, str]]:
    """(path below tests/, name) of everything that pytest collects in the files that the page names."""
    files = sorted({path for cell in rows().values() for path, _ in TEST_NAME.findall(cell)})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *(f"tests/{path}" for path in files)]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-1_000:]
    nodes = re.findall(r"^tests/(\S+\.py)::(\w+)", done.stdout, re.MULTILINE)
    return frozenset(nodes)


def test_every_row_is_there() -> None:
    assert sorted(rows()) == list(ROWS)


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_shown_or_says_why_not(row: int) -> None:
    cell = rows()[row]
    named = TEST_NAME.findall(cell)
    assert named or "later version, because" in cell
    missing = [f"{path}::{name}" for path, name in named if (path, name) not in collected()]
    assert not missing, f"row {row} names tests that do not exist: {missing}"


def test_nothing_that_looks_like_a_test_is_overlooked() -> None:
    """A name that is written in another way would prove nothing."""
    for cell in rows().values():
        assert cell.count("::") == len(TEST_NAME.findall(cell))
