"""Where a service's CPU goes: `py-spy` from outside while it works, folded to the functions that spent it themselves."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from waypost_proto.errors import Misconfigured

RATE_HERTZ = 250
LONGEST_SECONDS = 600
TOP = 25


def find_py_spy() -> str:
    """Its path. Raises `Misconfigured`."""
    found = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if found is None:
        raise Misconfigured("no py-spy in this environment: install it, or leave out --profile")
    return found


async def self_times(pid: int, output: Path, work: Callable[[], Awaitable[None]]) -> list[tuple[str, float]]:
    """Sample a process while `work` runs; functions with the share of its samples that they were on top of, the largest first.

    The raw stacks stay in `output`, for flame graphs.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    command = (find_py_spy(), "record", "--format", "raw", "--rate", str(RATE_HERTZ), "--duration", str(LONGEST_SECONDS))
    sampler = await asyncio.create_subprocess_exec(
        *command, "--output", str(output), "--pid", str(pid), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await work()
    finally:
        if sampler.returncode is None:
            sampler.send_signal(2)  # it writes what it has
        await sampler.wait()
    return shares(output.read_text())


def shares(raw: str) -> list[tuple[str, float]]:
    """Fold lines `outer;…;inner count` by their innermost function."""
    own: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        own[_short(stack.rpartition(";")[2])] += int(count)
    total = own.total() or 1
    return [(name, count / total) for name, count in own.most_common(TOP)]


def _short(frame: str) -> str:
    """`function (path/file.py:12)` without the line."""
    name, _, place = frame.partition(" (")
    parts = place.rstrip(")").rpartition(":")[0].split("/")
    return f"{name} ({'/'.join(parts[-2:])})"
