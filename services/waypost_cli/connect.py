"""The connection of a command: a `Client` with the patience of somebody who sits and waits.

Servers come from the environment; where it names none, from the `waypost dev` that runs on this data directory, if there is one.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from waypost.client import Client
    from waypost_io.bus.ports import Bus

PATIENCE_SECONDS = 6.0
"""How long a command waits for a coordinator that does not answer: a restart takes less."""


def has_token() -> bool:
    """Whether requests are signed: then it is known who asks, and with which roles."""
    return any(os.environ.get(name, "").strip() for name in ("WAYPOST_API_TOKEN", "WAYPOST_API_TOKEN_FILE"))


def quiet() -> None:
    """What a connection logs is for services; in a command a problem is one line, said by `__main__`."""
    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), logger_factory=structlog.PrintLoggerFactory(sys.stderr)
    )


def use_running_dev() -> None:
    """Fill the environment of this process with the servers of a `waypost dev` in this directory, unless it names servers itself."""
    from waypost_io.settings import Settings, load

    if os.environ.get("WAYPOST_NATS_URL", "").strip() or os.environ.get("WAYPOST_POSTGRES_URL", "").strip():
        return
    data_dir = load(Settings).data_dir
    if not data_dir.is_dir():
        return
    from waypost_io.servers.running import find_running

    running = find_running(data_dir)
    if running is not None:
        for name, value in running.environment.items():
            os.environ.setdefault(name, value)


def make_client(bus: Bus | None = None) -> Client:
    """A client from the environment, over an open bus if given; tests put another one here. Raises `Misconfigured`."""
    from waypost.client import Client

    quiet()
    use_running_dev()
    return Client(bus=bus, patience_seconds=PATIENCE_SECONDS)


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """A connected client. Raises `Unreachable`, which ends the command with one line and exit code 3."""
    async with make_client() as client:
        yield client
