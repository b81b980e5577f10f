"""The peer's own virtual environment: made once, outside the checkout, from exact versions. Waypost's environment stays without it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from waypost_proto.errors import Misconfigured

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints-peer.txt"
PACKAGES = ("langgraph>=1.2,<1.3", "langgraph-checkpoint-postgres", "psycopg[binary,pool]", "uvloop")
_COMPLETE = "complete"


def folder() -> Path:
    """Where the environment is or will be: another one for other versions, another Python, another user."""
    versions = hashlib.sha256(CONSTRAINTS.read_bytes() + sys.version.encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"waypost-bench-peer-{os.getuid()}-{versions}"


def python() -> Path | None:
    """The environment's Python; None when it has not been made. Raises `Misconfigured` when somebody else made it."""
    place = folder()
    if not (place / _COMPLETE).exists():
        return None
    if place.stat().st_uid != os.getuid():
        raise Misconfigured(f"{place} belongs to user {place.stat().st_uid}, not to us: remove it, or set TMPDIR to another folder")
    return place / "bin" / "python"


def make() -> Path:
    """The environment's Python; installs the peer when it is not there yet (half a minute). Raises `Misconfigured`. Idempotent."""
    found = python()
    if found is not None:
        return found
    place = folder()
    place.mkdir(mode=0o700, exist_ok=True)
    fresh = place / "bin" / "python"
    install = [str(fresh), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", str(CONSTRAINTS), *PACKAGES]
    for command in ([sys.executable, "-m", "venv", str(place)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Misconfigured(f"cannot make the peer's environment in {place}: {command[1:4]} ended with\n{done.stderr[-2_000:]}")
    (place / _COMPLETE).touch()
    return fresh
