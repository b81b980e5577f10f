"""What `_wire` needs of nats-py's private parts. When this fails after an upgrade, read `_wire.py` and `client.py` side by side."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from tests.waiting import wait_until
from waypost_io.bus._wire import Wire
from waypost_io.servers import EmbeddedNats


@pytest.fixture
async def wire(nats_url: str) -> AsyncIterator[Wire]:
    made = Wire()
    await made.connect(nats_url, max_reconnect_attempts=-1)
    yield made
    await made.close()


def test_the_private_parts_are_there() -> None:
    assert list(inspect.signature(Client._process_msg).parameters) == ["self", "sid", "subject", "reply", "data", "headers"]
    assert list(inspect.signature(Client._process_err).parameters) == ["self", "err_msg"]
    assert "future = self._pongs.pop(0)" in inspect.getsource(Client._process_pong)
    assert list(inspect.signature(Client._process_op_err).parameters) == ["self", "e"]
    assert inspect.iscoroutinefunction(Client._process_msg)
    assert not inspect.iscoroutinefunction(Client._connect_command)
    fresh = Client()
    assert fresh._pending == []
    assert fresh._pending_data_size == 0
    assert fresh._subs == {}
    assert "_pending[:]" in inspect.getsource(Client._flusher), "the flusher takes what is in the buffer at once"
    assert "if not future.done()" in inspect.getsource(Client._flusher), "one finished future can serve every wake-up"


def test_the_reader_calls_process_msg_once_per_message() -> None:
    from nats.protocol.parser import Parser

    assert "await self.nc._process_msg(sid, subject, reply, payload, hdr)" in inspect.getsource(Parser.parse)


def test_credentials_are_made_after_tls() -> None:
    source = inspect.getsource(Client._process_connect_init)
    places = [source.rindex(part) for part in ("self._server_info = srv_info", "connect_tls", "_connect_command()", "write(connect_cmd)")]
    assert places == sorted(places)


def test_subscriptions_are_sent_again_before_anything_else_after_a_reconnect() -> None:
    source = inspect.getsource(Client._attempt_reconnect)
    places = [
        source.index(part) for part in ("_disconnected_cb()", "_process_connect_init()", "sub_cmd(", "self.flush()", "_reconnected_cb()")
    ]
    assert places == sorted(places)


async def test_the_late_answer_to_a_flush_that_was_given_up_does_no_harm(wire: Wire) -> None:
    given_up: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    await wire._send_ping(given_up)
    given_up.cancel()
    await wire.flush(2)  # its answer comes behind the other; without a reader it never does
    assert not wire._reading_task.done()


async def test_written_frames_reach_sinks_in_order_with_nats_pys_own_commands(wire: Wire) -> None:
    got: list[tuple[bytes, bytes, bytes, bytes | None]] = []
    await wire.add_sink("wire.>", lambda *parts: got.append(parts))
    wire.write(b"PUB wire.a  1\r\n1\r\n")
    await wire.publish("wire.b", b"2")
    wire.write(b"HPUB wire.c back 20 21\r\nNATS/1.0\r\nA: bcd\r\n\r\n3\r\n")
    await wait_until(lambda: len(got) == 3)
    assert got == [
        (b"wire.a", b"", b"1", None),
        (b"wire.b", b"", b"2", None),
        (b"wire.c", b"back", b"3", b"NATS/1.0\r\nA: bcd\r\n\r\n"),
    ]
    assert wire.unsent_bytes == 0


async def test_a_flush_means_that_the_server_knows_of_a_subscription(wire: Wire, nats_url: str) -> None:
    other = Wire()
    await other.connect(nats_url)
    for n in range(300):
        got: list[bytes] = []
        await wire.add_sink(f"wire.flush.{n}", lambda _s, _r, body, _h, got=got: got.append(body))
        await wire.flush()
        other.write(b"PUB wire.flush.%d  1\r\n1\r\n" % n)
        await other.flush()
        await wire.flush()
        assert got == [b"1"]
    await other.close()


async def test_a_sink_that_raises_does_not_end_the_reader(wire: Wire) -> None:
    got: list[bytes] = []

    def sink(subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> None:
        got.append(body)
        if body == b"1":
            raise ValueError("a bug")

    subscription = await wire.add_sink("wire.raise", sink)
    for n in (1, 2):
        wire.write(b"PUB wire.raise  1\r\n%d\r\n" % n)
    await wait_until(lambda: got == [b"1", b"2"])
    await wire.remove_sink(subscription)
    await wire.remove_sink(subscription)
    wire.write(b"PUB wire.raise  1\r\n3\r\n")
    await wire.flush()
    assert got == [b"1", b"2"]


async def test_an_error_of_the_protocol_reconnects_instead_of_closing(own_nats: EmbeddedNats) -> None:
    """nats-py alone would be closed for good (py#1019)."""
    made = Wire()
    again = asyncio.Event()

    async def reconnected() -> None:
        again.set()

    async def ignored(_error: Exception) -> None: ...

    await made.connect(own_nats.url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, reconnected_cb=reconnected, error_cb=ignored)
    got: list[bytes] = []
    await made.add_sink("wire.e", lambda _s, _r, body, _h: got.append(body))
    made.write(b"NONSENSE\r\n")
    await asyncio.wait_for(again.wait(), 20)
    assert made.is_connected
    made.write(b"PUB wire.e  1\r\n1\r\n")
    await wait_until(lambda: got == [b"1"])
    await made.close()
