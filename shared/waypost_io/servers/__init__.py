"""Embedded servers for development, the demo and tests: a real `nats-server` and a real Postgres, both from wheels.

    async with EmbeddedNats(data / "nats") as nats, EmbeddedPostgres(data / "postgres") as postgres:
        connect(nats.url, postgres.url)

Both listen on 127.0.0.1 only and without passwords: they are for one developer's machine, never for production.
"""

from waypost_io.errors import NotReady
from waypost_io.servers.nats import EmbeddedNats, NatsOptions
from waypost_io.servers.ports import free_port
from waypost_io.servers.postgres import EmbeddedPostgres, PostgresOptions
from waypost_io.servers.process import Account, ChildProcess, ProcessSpec
from waypost_io.servers.running import Running, claimed, find_running, last_known, publish

__all__ = [
    "Account",
    "ChildProcess",
    "EmbeddedNats",
    "EmbeddedPostgres",
    "NatsOptions",
    "NotReady",
    "PostgresOptions",
    "ProcessSpec",
    "Running",
    "claimed",
    "find_running",
    "free_port",
    "last_known",
    "publish",
]
