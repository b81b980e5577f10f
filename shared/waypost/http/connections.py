"""The connections of the tools that may reach the same places: opened once by the gateway, or for one call where nobody opened them.

Tools with different rules share no connection: one that a laxer rule allowed must not serve a request under a stricter one.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

import httpcore2

from waypost.http.egress import Egress, Rules
from waypost.http.guard import Guard, Resolver, system_resolver
from waypost.http.settings import http_settings
from waypost.http.transport import GuardedTransport
from waypost_proto.errors import Misconfigured


class Connections:
    """An async context manager that holds a transport open. Opening it reads `WAYPOST_HTTP_*`; nothing is connected yet."""

    def __init__(self, egress: Egress, resolver: Resolver = system_resolver) -> None:
        self.egress = egress
        self._resolver = resolver
        self._opened: GuardedTransport | None = None

    async def __aenter__(self) -> Self:
        self._opened = self._made()
        await self._opened.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None = None, exc: BaseException | None = None, trace: TracebackType | None = None
    ) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            await opened.__aexit__(exc_type, exc, trace)

    @asynccontextmanager
    async def transport(self) -> AsyncIterator[GuardedTransport]:
        """The open transport, or one for this use alone."""
        if self._opened is not None:
            yield self._opened
            return
        async with self._made() as alone:
            yield alone

    def _made(self) -> GuardedTransport:
        settings = http_settings()
        return GuardedTransport(Guard(Rules(self.egress, settings.allowed), self._resolver), tls=tls_context(settings.ca))


@lru_cache(maxsize=256)
def connections_of(egress: Egress) -> Connections:
    """The one `Connections` of all tools with these rules."""
    return Connections(egress)


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """The system's authorities (or `SSL_CERT_FILE`), and those of `ca`. Raises `Misconfigured`."""
    context = httpcore2.default_ssl_context()
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise Misconfigured(f"WAYPOST_HTTP_CA={str(ca)!r} is no PEM file with certificates: {error}") from error
    return context
