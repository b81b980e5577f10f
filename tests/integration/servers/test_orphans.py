"""No server outlives the process that started it, however that ends."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from tests.waiting import wait_until

PARENT = """
import asyncio, sys
from pathlib import Path
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres

async def main() -> None:
    data = Path(sys.argv[1])
    nats, postgres = EmbeddedNats(data / "nats"), EmbeddedPostgres(data / "postgres")
    await asyncio.gather(nats.start(), postgres.start())
    print(nats.pid, postgres.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"  # a zombie waits for whoever reaps orphans here


async def test_servers_end_when_their_parent_is_killed(server_dir: Path) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, str(server_dir / "orphans"), stdout=PIPE, env=os.environ)
    try:
        assert parent.stdout is not None
        pids = [int(word) for word in (await parent.stdout.readline()).split()]
        assert len(pids) == 2
        assert all(_alive(pid) for pid in pids)
    finally:
        parent.kill()
        await parent.wait()
    await wait_until(lambda: not any(_alive(pid) for pid in pids), message=f"{pids} still run")
