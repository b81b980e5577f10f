"""Prometheus and promtool, where they are: on the path, or where `.ci/run` unpacked Debian's package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".cache" / "prometheus" / "usr" / "bin"
INSTALL = "Debian's package `prometheus` is not here: apt-get install prometheus, or run .ci/run"


def program(name: str) -> str:
    """The path of a program; the test is skipped without it, unless CI_NEEDS_PROMETHEUS says that it must be there."""
    found = shutil.which(name) or shutil.which(name, path=str(UNPACKED))
    if found is None:
        if os.environ.get("CI_NEEDS_PROMETHEUS"):
            pytest.fail(INSTALL)
        pytest.skip(INSTALL)
    return found
