"""How long `waypost dev` takes from the command to everything ready, as somebody at a terminal sees it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from tests.bench.platform import WORK_FILE
from waypost_io.servers import ChildProcess, NotReady, ProcessSpec, find_running

LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.02


async def seconds_to_start(data_dir: Path) -> float:
    """Start `waypost dev` on these files, wait until it says where it is, and end it. Raises `NotReady`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    started = time.perf_counter()
    process = await ChildProcess.start(
        ProcessSpec(
            name="waypost-dev",
            command=(sys.executable, "-m", "waypost_cli", "dev", "--no-reload", str(WORK_FILE)),
            log_path=data_dir.with_name("dev.log"),
            environment={**environment, "WAYPOST_DATA_DIR": str(data_dir)},
            stop_seconds=20.0,
        )
    )
    try:
        while find_running(data_dir) is None:
            if not process.running or time.perf_counter() - started > LIMIT_SECONDS:
                raise NotReady(f"`waypost dev` is not ready after {time.perf_counter() - started:.1f} s:\n{process.log_tail()}")
            await asyncio.sleep(POLL_SECONDS)
        return time.perf_counter() - started
    finally:
        await process.stop()
