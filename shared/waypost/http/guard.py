"""The gate that every connection of an HTTP tool passes: resolve once, judge every address, connect to the one that was judged.

It sits where the connection is made, below the HTTP library: whatever led to a connection (a template, a redirect, an MCP server's
metadata), it is judged again, and there is no second look-up that could answer differently (DNS rebinding). TLS still asks for, and
checks, the host's name. Owns no pool and no HTTP.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Any

import httpcore2

from waypost.http.addresses import Address
from waypost.http.egress import Rules
from waypost.http.hosts import EgressRefused, Host, read_host

MAX_ADDRESSES = 16
"""Of one name: more are not tried."""
CONNECT_SECONDS = 10.0

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""A host name and a port to its addresses; raises `OSError`."""


async def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of a name as the system knows them, in its order of preference."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in found))


class Guard:
    """Judges hosts by `rules`. Stateless: nothing that was resolved is remembered."""

    def __init__(self, rules: Rules, resolver: Resolver = system_resolver) -> None:
        self.rules = rules
        self._resolver = resolver

    async def addresses(self, host: Host, port: int) -> list[Address]:
        """The addresses to connect to, all of them allowed.

        Raises `EgressRefused` if one single address is not, or if host or port are not; `OSError` if the name does not resolve.
        """
        self.rules.check_host(host, port)
        found: list[Address] = [host.address] if host.address is not None else await self._resolved(host, port)
        for address in found:
            self.rules.check_address(host, port, address)
        return found[:MAX_ADDRESSES]

    async def _resolved(self, host: Host, port: int) -> list[Address]:
        texts = await self._resolver(host.name, port)
        if not texts:
            raise OSError(f"{host} has no address")
        try:
            return [ip_address(text) for text in texts]
        except ValueError as error:
            raise EgressRefused(f"the resolver's answer for {host} is no address: {error}") from error


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to what the guard has judged, and only to that. `timeout` is for resolving and connecting together."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Raises `EgressRefused`, or httpcore's `ConnectError` and `ConnectTimeout`. Nothing has been sent then."""
        seconds = CONNECT_SECONDS if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                return await self._connect(read_host(host), port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"no connection to {host}:{port} within {seconds:g} s") from error
        except OSError as error:
            raise httpcore2.ConnectError(f"no connection to {host}:{port}: {error}") from error

    async def _connect(
        self, host: Host, port: int, local_address: str | None, socket_options: Iterable[Any] | None
    ) -> httpcore2.AsyncNetworkStream:
        problem: Exception = OSError("no address")
        for address in await self._guard.addresses(host, port):
            try:
                return await self._inner.connect_tcp(str(address), port, None, local_address, socket_options)
            except httpcore2.ConnectError as error:
                problem = error
        raise httpcore2.ConnectError(f"no connection to {host}:{port}: {problem}") from problem

    async def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None) -> Any:  # noqa: ASYNC109, ARG002
        raise EgressRefused(f"{path} is a socket of this machine: tools call http and https only")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
