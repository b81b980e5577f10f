"""The embedded NATS server: survives being killed, wiped and restarted on its port."""

from __future__ import annotations

from pathlib import Path

import nats as nats_client
import pytest

from tests.waiting import wait_until
from waypost_io.servers import EmbeddedNats, NatsOptions, free_port
from waypost_proto.errors import Misconfigured


async def _publish(url: str, subject: str, *, stream: str | None = None) -> int:
    connection = await nats_client.connect(url, allow_reconnect=False)
    try:
        stream_api = connection.jetstream()
        if stream is not None:
            await stream_api.add_stream(name=stream, subjects=[subject])
        return (await stream_api.publish(subject, b"x")).seq
    finally:
        await connection.close()


async def test_a_killed_server_restarts_on_its_port_with_its_streams(own_nats: EmbeddedNats) -> None:
    url, pid = own_nats.url, own_nats.pid
    assert await _publish(url, "a.b", stream="A") == 1

    await own_nats.kill()
    assert not own_nats.running
    await own_nats.start()

    assert (own_nats.url, own_nats.pid == pid) == (url, False)
    assert await _publish(url, "a.b") == 2


async def test_wipe_deletes_every_stream(own_nats: EmbeddedNats) -> None:
    await _publish(own_nats.url, "a.b", stream="A")

    await own_nats.wipe()
    assert not own_nats.running
    await own_nats.start()

    assert await _publish(own_nats.url, "a.b", stream="A") == 1


async def test_start_and_stop_are_idempotent(own_nats: EmbeddedNats) -> None:
    pid = own_nats.pid
    await own_nats.start()
    assert own_nats.pid == pid
    await own_nats.stop()
    await own_nats.stop()
    await own_nats.kill()
    assert not own_nats.running


async def test_wait_sees_a_kill_from_outside(own_nats: EmbeddedNats) -> None:
    await own_nats.kill()
    assert await own_nats.wait() == -9


async def test_a_taken_port_is_named(nats: EmbeddedNats, server_dir: Path) -> None:
    second = EmbeddedNats(server_dir / "nats-second", port=nats.port)
    with pytest.raises(Misconfigured, match=f"port {nats.port}: another process"):
        await second.start()
    assert not second.running


async def test_listens_on_loopback_only(nats: EmbeddedNats) -> None:
    listening = {line.split()[1].split(":")[0] for line in _listeners() if line.split()[1].endswith(f":{nats.port:04X}")}
    assert listening == {"0100007F"}


async def test_strict_durability_reaches_the_server(server_dir: Path) -> None:
    server = EmbeddedNats(server_dir / "nats-strict", port=free_port(), options=NatsOptions(durability="strict"))
    async with server:
        assert '"sync_interval": "always"' in (server_dir / "nats-strict" / "nats.conf").read_text()
        await wait_until(lambda: server.running)


def _listeners() -> list[str]:
    rows = [line.strip().split(":", 1)[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [row for row in rows if row.split()[2] == "0A"]
    return ["x " + row.strip() for row in listening]
