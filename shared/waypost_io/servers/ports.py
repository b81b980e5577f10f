"""Free loopback ports that stay free while their server is down.

A port that the kernel hands out for `bind(0)` lies in the ephemeral range. Between a server's death and its restart a reconnecting
client may be given that very port as its own source port, connect to itself and keep the server from binding. So ports are taken
from below the ephemeral range.
"""

from __future__ import annotations

import errno
import random
import socket
from pathlib import Path

from waypost_proto.errors import Misconfigured

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 10_000
ATTEMPTS = 500

_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_EPHEMERAL_START = 32_768
_random = random.SystemRandom()


def ephemeral_start() -> int:
    """First port that the kernel may give to outgoing connections."""
    try:
        return int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _DEFAULT_EPHEMERAL_START


def can_bind(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
        return True


def free_port(host: str = LOOPBACK) -> int:
    """A port on which nobody listens, below the ephemeral range where there is room for it.

    Another process may still take it before its server binds; the servers here then choose again. Raises `Misconfigured` when no
    port is free.
    """
    stop = ephemeral_start()
    start, stop = (LOWEST_PORT, stop) if stop - LOWEST_PORT >= 1_000 else (LOWEST_PORT, 65_536)
    for _ in range(ATTEMPTS):
        port = _random.randrange(start, stop)
        if can_bind(port, host):
            return port
    raise Misconfigured(f"no free port on {host} between {start} and {stop} in {ATTEMPTS} tries; stop what occupies them")
