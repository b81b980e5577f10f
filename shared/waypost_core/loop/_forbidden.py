"""Everything of the event loop interface that an agent's code must not use: I/O, threads, processes, signals, control."""

from __future__ import annotations

import asyncio
from typing import Any, NoReturn

from waypost_core.loop._errors import NotInAgentCode

FORBIDDEN = (
    "add_reader",
    "add_signal_handler",
    "add_writer",
    "call_soon_threadsafe",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "getaddrinfo",
    "getnameinfo",
    "remove_reader",
    "remove_signal_handler",
    "remove_writer",
    "run_forever",
    "run_in_executor",
    "run_until_complete",
    "sendfile",
    "set_default_executor",
    "set_task_factory",
    "shutdown_asyncgens",
    "shutdown_default_executor",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
    "stop",
    "subprocess_exec",
    "subprocess_shell",
)


def _refuse(name: str) -> Any:
    def refused(*_: object, **__: object) -> NoReturn:
        raise NotInAgentCode(f"asyncio's loop.{name}")

    refused.__name__ = name
    return refused


class WithoutInputOutput(asyncio.AbstractEventLoop):
    """An event loop in which all of `FORBIDDEN` raises `NotInAgentCode` at the call."""


for _name in FORBIDDEN:
    setattr(WithoutInputOutput, _name, _refuse(_name))
