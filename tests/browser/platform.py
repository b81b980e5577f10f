"""Everything that the console stands on, as processes of their own: servers, services and an edge, as `waypost dev` runs them."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until
from waypost.client import Client
from waypost_cli.dev import DevOptions, Supervisor
from waypost_io.servers import free_port

MODULE = str(Path(__file__).with_name("lending.py"))
RUDE = str(Path(__file__).with_name("rude.py"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A running one: `url` is the console's."""

    url: str
    client: Client
    supervisor: Supervisor
    edge: asyncio.subprocess.Process


@asynccontextmanager
async def platform(
    data_dir: Path, *, port: int = 0, modules: tuple[str, ...] = (MODULE, RUDE), **environment: str
) -> AsyncIterator[Platform]:
    """Start all of it; `environment` is for the edge."""
    options = DevOptions(modules=modules, data_dir=data_dir, reload=False, services=("coordinator", "worker", "gateway"))
    async with (
        Supervisor(options) as supervisor,
        edge(supervisor, data_dir, port or free_port(), environment) as (url, process),
        Client(supervisor.nats_url, prefix=options.prefix) as client,
    ):
        yield Platform(url=url, client=client, supervisor=supervisor, edge=process)


@asynccontextmanager
async def edge(
    supervisor: Supervisor, folder: Path, port: int, environment: Mapping[str, str]
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """An edge that serves the console of `supervisor`'s platform."""
    url = f"http://127.0.0.1:{port}"
    full = {
        **os.environ,
        "WAYPOST_NATS_URL": supervisor.nats_url,
        "WAYPOST_POSTGRES_URL": supervisor.postgres_url,
        "WAYPOST_HTTP_ADDR": f"127.0.0.1:{port}",
        "WAYPOST_LOG_FORMAT": "json",
        **environment,
    }
    with (folder / "edge.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "waypost_edge", env=full, stderr=log)
    try:
        await wait_until(lambda: asyncio.to_thread(_answers, f"{url}/static/-/console.css"), seconds=60)
        yield url, process
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False
