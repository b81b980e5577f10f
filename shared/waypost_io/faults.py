"""Fault hooks: named points at which a crash test kills the process for real.

    WAYPOST_FAULTS="coordinator.commit.after:3,worker.ack.before"

makes the process SIGKILL itself at the third passage of the first point, or the first passage of the second. Names are
`<service>.<boundary>.<before|after>`. Without `arm` (the lifecycle calls it) a point costs one comparison.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping

from waypost_proto.errors import Misconfigured

VARIABLE = "WAYPOST_FAULTS"

_ENTRY = re.compile(r"([a-z_]+\.[a-z_]+\.(?:before|after))(?::([1-9][0-9]{0,8}))?")
_armed: dict[str, int] | None = None


def parse(text: str) -> dict[str, int]:
    """Point → passage at which to die. Raises `Misconfigured`."""
    points: dict[str, int] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise Misconfigured(f"{VARIABLE}: {entry!r} is not <service>.<boundary>.<before|after>[:passage], passage from 1")
        points[match[1]] = int(match[2] or 1)
    return points


def arm(environment: Mapping[str, str] | None = None) -> None:
    """Read `WAYPOST_FAULTS`; unset disarms. Idempotent. Raises `Misconfigured`."""
    global _armed  # noqa: PLW0603 - one per process, like the signal it sends
    _armed = parse((os.environ if environment is None else environment).get(VARIABLE, "")) or None


def point(name: str) -> None:
    """Die here if this passage was asked for; nothing otherwise."""
    if _armed is None or name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] == 0:
        os.write(2, f"fault point {name}: killing process {os.getpid()}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)
