"""What the operating system says of this process, under the names that Prometheus' own client libraries use. Read at each scrape.

Linux only; elsewhere the gauges are not defined.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from waypost_io.metrics import Metrics

_STAT = Path("/proc/self/stat")
_FD = Path("/proc/self/fd")
_UTIME, _STIME, _RSS = 14 - 3, 15 - 3, 24 - 3
"""Fields of proc(5), counted from the third: the second is the command's name, which may hold blanks and brackets."""


def define(metrics: Metrics) -> None:
    """CPU time, memory, open files and the start of this process. Call it once per registry."""
    if not _STAT.exists():
        return
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    started = time.time()
    metrics.gauge("process_start_time_seconds", "Unix time at which this process began to measure.").labels().set(started)
    metrics.gauge("process_resident_memory_bytes", "Resident memory.").labels().follow(lambda: _field(_RSS) * page)
    metrics.gauge("process_open_fds", "Open files and sockets.").labels().follow(_open_files)
    cpu = metrics.counter("process_cpu_seconds_total", "CPU time of user and system.").labels()
    cpu.follow(lambda: (_field(_UTIME) + _field(_STIME)) / ticks)


def _field(index: int) -> int:
    return int(_STAT.read_text().rpartition(")")[2].split()[index])


def _open_files() -> int:
    return len(os.listdir(_FD))  # noqa: PTH208 - counts only
