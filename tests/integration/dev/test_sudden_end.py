"""When the supervisor is killed, nothing that it started stays behind."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.waiting import wait_until
from waypost_io.servers import find_running

PARENT = """
import asyncio, sys
from pathlib import Path
from waypost_cli.dev import DevOptions, Supervisor, options

options._MODULES = dict.fromkeys(options.SERVICES, "waypost_stand_in")

async def main() -> None:
    async with Supervisor(DevOptions(data_dir=Path(sys.argv[1]))) as supervisor:
        services = [process.pid for process in supervisor.processes.values()]
        print(supervisor.nats.pid, supervisor.postgres.pid, *services, flush=True)
        await supervisor.wait()

asyncio.run(main())
"""
STAND_IN = """
from waypost_io.lifecycle import run_service
from waypost_io.ops import OpsServer
from waypost_io.settings import Settings, load

async def serve(stop):
    async with OpsServer(load(Settings).ops_addr):
        await stop.wait()

raise SystemExit(run_service("stand-in", serve))
"""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"  # a zombie waits for whoever reaps orphans here


@pytest.mark.crash
async def test_a_killed_supervisor_leaves_nothing_behind(server_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "waypost_stand_in.py").write_text(STAND_IN)
    data_dir = server_dir / "sudden"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(data_dir), stdout=PIPE, env=environment)
    try:
        assert parent.stdout is not None
        pids = [int(word) for word in (await parent.stdout.readline()).split()]
        assert len(pids) == 4
        assert all(_alive(pid) for pid in pids)
        assert find_running(data_dir) is not None
    finally:
        parent.kill()
        await parent.wait()
    await wait_until(lambda: not any(_alive(pid) for pid in pids), message=lambda: f"{[pid for pid in pids if _alive(pid)]} still run")
    assert find_running(data_dir) is None
