"""A NATS server with the accounts of `waypost nats-config`, and the settings of each of its users."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
from nats.aio.client import Client as NatsClient

from waypost_io.servers import free_port
from waypost_io.servers.nats import find_nats_server

POOLS = """
[pool.desk]
agents = ["payer", "asker"]
builds = ["test"]
workers = 2

[pool.bank]
tools = ["pay"]

[pool.edge]
webhooks = ["crm"]

[pool.rival]
agents = ["spy"]
builds = ["test"]
"""


@dataclass
class Fenced:
    """A running server: nobody gets in without a key. `folder` holds what `nats-config` wrote."""

    url: str
    folder: Path
    prefix: str

    def environment(self, user: str) -> dict[str, str]:
        """What the processes of a user are started with."""
        lines = (self.folder / f"{user}.env").read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines) | {"WAYPOST_NATS_URL": self.url, "WAYPOST_PREFIX": self.prefix}

    @asynccontextmanager
    async def connect(self, user: str) -> AsyncIterator[tuple[NatsClient, list[str]]]:
        """Plain nats-py with the key of a user, and what the server refused it."""
        refused: list[str] = []

        async def error(problem: Exception) -> None:
            refused.append(str(problem))

        connection = await nats.connect(
            self.url, nkeys_seed=str(self.folder / f"{user}.nk"), inbox_prefix=f"_INBOX_{user}", error_cb=error, allow_reconnect=False
        )
        try:
            yield connection, refused
        finally:
            await connection.close()


@asynccontextmanager
async def fenced(folder: Path, prefix: str) -> AsyncIterator[Fenced]:
    """Write the configuration by the command, start a server with it, and end it."""
    (folder / "pools.toml").write_text(POOLS, encoding="utf-8")
    command = [sys.executable, "-m", "waypost_cli", "nats-config", str(folder / "pools.toml"), "--out", str(folder)]
    import os  # the command takes the prefix from its environment

    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "WAYPOST_PREFIX": prefix})
    assert await process.wait() == 0
    port = free_port()
    config = folder / "server.conf"
    jetstream = {"store_dir": str(folder / "jetstream"), "max_file_store": 1 << 45, "max_memory_store": 1 << 40}
    config.write_text(f"listen: 127.0.0.1:{port}\njetstream: {json.dumps(jetstream)}\ninclude ./waypost-accounts.conf\n", encoding="utf-8")
    with (folder / "nats.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(find_nats_server(), "-c", str(config), stdout=log, stderr=log)
    try:
        yield Fenced(f"nats://127.0.0.1:{port}", folder, prefix)
    finally:
        server.terminate()
        await server.wait()
