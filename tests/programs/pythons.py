"""Finds the Pythons at hand, and makes a place for each of them with what an agent's code needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLDEST = (3, 11)
NEEDED = ("msgspec", "structlog", "hypothesis")
"""What `waypost`, `waypost_core` and this package import; no servers, no adapters."""
INSTALL_SECONDS = 180
_VERSION = "import sys; print(*sys.version_info[:3])"


@cache
def others() -> dict[str, str]:
    """Every other Python from 3.11 up: `3.12` → its path. Of several of one minor version the newest."""
    found: dict[tuple[int, ...], str] = {}
    for path in _candidates():
        version = _version_of(path)
        if version is not None and version[:2] >= OLDEST and version[:2] != sys.version_info[:2]:
            found.setdefault(version, path)
    newest = {version[:2]: path for version, path in sorted(found.items())}
    return {f"{major}.{minor}": path for (major, minor), path in sorted(newest.items())}


def _candidates() -> list[str]:
    on_path = [shutil.which(f"python3.{minor}") for minor in range(11, 20)]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    ours = sorted(str(path) for path in pyenv.glob("3.*/bin/python"))
    return [*(path for path in on_path if path), *ours]


def _version_of(python: str) -> tuple[int, ...] | None:
    """None for what is no Python, or a shim of one that is not chosen."""
    try:
        done = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return tuple(int(part) for part in re.findall(r"\d+", done.stdout)) if done.returncode == 0 else None


def prepare(python: str, folder: Path) -> str:
    """The Python of a new virtual environment in `folder` that has what is needed, in the versions of `constraints.txt`.

    One that is there already is used again. Raises `RuntimeError` with the output of what did not succeed.
    """
    made = folder / "bin" / "python"
    if not made.exists():
        _run([python, "-m", "venv", str(folder)])
    have = subprocess.run([made, "-c", f"import {', '.join(NEEDED)}"], capture_output=True, check=False).returncode == 0
    if not have:
        install = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
        _run([str(made), *install, *NEEDED])
    return str(made)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def environment() -> dict[str, str]:
    """For a process of another Python: our sources, and another seed for the hashes of strings, which must decide nothing."""
    roots = [str(ROOT / name) for name in ("proto", "shared", "services", "examples", ".")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "PYTHONHASHSEED": "7"}
