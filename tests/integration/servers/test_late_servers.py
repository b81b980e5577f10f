"""Every service starts before its servers do: alive, not ready and saying why, then ready without a restart; SIGTERM ends the wait."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres, free_port
from waypost_io.store.migrate import migrate

MODULE = Path(__file__).parents[2] / "chaos" / "desk_module.py"
SERVICES = {
    "coordinator": ["-m", "waypost_coordinator"],
    "worker": ["-m", "waypost_worker", str(MODULE)],
    "gateway": ["-m", "waypost_gateway", str(MODULE)],
    "audit": ["-m", "waypost_audit"],
}


class Started:
    """A service's process and its ops port."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log

    async def page(self, path: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        text = (await reader.read()).decode()
        writer.close()
        return text

    async def ready(self) -> bool:
        return (await self.page("/readyz")).startswith("HTTP/1.1 200")

    def said(self) -> str:
        return self.log.read_text()


@asynccontextmanager
async def service(name: str, folder: Path, **environment: str) -> AsyncIterator[Started]:
    port, log = free_port(), folder / f"{name}.log"
    full = {**os.environ, **environment, "WAYPOST_OPS_ADDR": f"127.0.0.1:{port}", "WAYPOST_LOG_FORMAT": "json"}
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(sys.executable, *SERVICES[name], env=full, stdout=file, stderr=file)
    try:
        yield Started(process, port, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def waits_alive(started: Started, message: str) -> None:
    async def not_ready() -> bool:
        return message in await started.page("/readyz")

    await wait_until(not_ready, ignore=(OSError,), message=started.said)
    assert (await started.page("/readyz")).startswith("HTTP/1.1 503")
    assert (await started.page("/livez")).startswith("HTTP/1.1 200")
    await wait_until(lambda: "waiting for a server" in started.said(), message=started.said)
    assert started.process.returncode is None


@pytest.mark.slow
async def test_every_service_waits_for_nats_and_postgres(tmp_path: Path, own_nats: EmbeddedNats, own_postgres: EmbeddedPostgres) -> None:
    """The servers go, the services come, and only then the servers come back."""
    database = await own_postgres.create_database("late")
    await migrate(database)
    environment = {"WAYPOST_NATS_URL": own_nats.url, "WAYPOST_POSTGRES_URL": database, "WAYPOST_BUILD": "b1"}
    await own_nats.kill()
    await own_postgres.kill()
    async with AsyncExitStack() as stack:
        started = [await stack.enter_async_context(service(name, tmp_path, **environment)) for name in SERVICES]
        for one in started:
            await waits_alive(one, "Postgres" if one is started[0] else "NATS")
        await own_nats.start()
        await waits_alive(started[2], "Postgres")
        await own_postgres.start()
        for one in started:
            await wait_until(one.ready, seconds=30, message=one.said)
        assert "Traceback" not in "".join(one.said() for one in started)


@pytest.mark.parametrize("name", SERVICES)
async def test_a_stop_is_not_held_up_by_a_server_that_is_not_there(tmp_path: Path, name: str) -> None:
    nats, postgres = free_port(), free_port()
    urls = {"WAYPOST_NATS_URL": f"nats://127.0.0.1:{nats}", "WAYPOST_POSTGRES_URL": f"postgresql://postgres@127.0.0.1:{postgres}/x"}
    async with service(name, tmp_path, **urls, WAYPOST_BUILD="b1") as started:
        await waits_alive(started, "cannot reach NATS" if name != "coordinator" else "Postgres did not answer")
        started.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.process.wait(), 10) == 0
