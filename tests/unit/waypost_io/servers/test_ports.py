from __future__ import annotations

import socket

from waypost_io.servers.ports import LOOPBACK, can_bind, ephemeral_start, free_port


def test_a_free_port_is_below_the_ephemeral_range_and_bindable() -> None:
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 10
    assert all(1024 < port < max(ephemeral_start(), 65_536) for port in ports)
    assert ephemeral_start() < 11_000 or all(port < ephemeral_start() for port in ports)


def test_a_port_with_a_listener_cannot_be_bound() -> None:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen(1)
        assert not can_bind(listener.getsockname()[1])
