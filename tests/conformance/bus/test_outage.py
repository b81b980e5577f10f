"""What happens around a lost server: killed, restarted, wiped, away for long. The memory bus keeps the same promises where it can."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.bus.conftest import QUICK, world_of
from tests.conformance.bus.test_pull import collect
from tests.waiting import wait_until
from waypost_io.bus._pull import _State
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.ports import ConsumerSpec, Message, StreamSpec
from waypost_io.servers import EmbeddedNats, free_port
from waypost_proto.errors import Misconfigured, NotFound, PublishTimeout, TransientError, Unreachable


async def settled(bus: Any) -> None:
    """The connection is up again and the server answers."""

    async def flushed() -> bool:
        await bus.flush()
        return True

    await wait_until(flushed, ignore=(Unreachable,))


async def test_kill_and_restart_while_publishing_and_pulling(own_world: Any) -> None:
    """Every publish that was confirmed is delivered; nothing hangs; publishing and pulling go on by themselves."""
    world = own_world
    bus, consumer_bus = await world.bus("publisher"), await world.bus("consumer")
    stream = world.stream()
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream, ack_wait_seconds=1.0))
    seen: set[bytes] = set()
    confirmed: set[bytes] = set()
    stop = asyncio.Event()

    async def publish() -> None:
        n = 0
        while not stop.is_set():
            bodies = [f"{n}-{i}".encode() for i in range(50)]
            acks = [bus.publish(world.subject("a"), body, msg_id=body.decode()) for body in bodies]
            for body, ack in zip(bodies, acks, strict=True):
                try:
                    await ack
                except TransientError:
                    continue
                confirmed.add(body)
            n += 1
            await asyncio.sleep(0.005)

    async def pull() -> None:
        puller = consumer_bus.pull(stream.name, "c")
        while True:
            for delivery in await puller.next_batch(100):
                seen.add(delivery.body)
                delivery.ack()

    pulling = asyncio.ensure_future(pull())
    publishing = asyncio.ensure_future(publish())
    for _ in range(3):
        before = len(seen)
        await wait_until(lambda: len(seen) > before + 200, message="messages flow")  # noqa: B023
        await world.kill()
        await world.start()
    stop.set()
    await asyncio.wait_for(publishing, 30)
    await wait_until(lambda: confirmed <= seen, message=lambda: f"{len(confirmed - seen)} of {len(confirmed)} confirmed are missing")
    assert not pulling.done()
    pulling.cancel()


async def test_a_restart_forgets_a_consumer_in_memory_and_nothing_of_its_queue(own_world: Any) -> None:
    """Made again it brings what was not acknowledged, and says that it is younger than that: its counts mean nothing."""
    world = own_world
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    consumers = [world.consumer(stream, kind, filter_subject=world.subject(kind), storage=kind) for kind in ("file", "memory")]
    for consumer in consumers:
        await bus.ensure_consumer(consumer)
        for body in (b"done", b"in hand", b"waits"):
            await bus.publish(world.subject(consumer.name), body, msg_id=f"{consumer.name} {body.decode()}")
    pullers = {consumer.name: bus.pull(stream.name, consumer.name, prefetch=False) for consumer in consumers}
    for puller in pullers.values():
        (done,) = await collect(puller, 1, limit=1)
        (in_hand,) = await collect(puller, 1, limit=1, ack=False)
        assert max(done.consumer_since, in_hand.consumer_since) < done.timestamp
    await world.until_count(stream, 4)

    await world.kill()
    await world.start()

    with pytest.raises(NotFound, match="'memory'"):
        await asyncio.wait_for(pullers["memory"].next_batch(1), 20)
    await bus.ensure_consumer(consumers[1])
    again = await collect(pullers["memory"], 2, ack=False)
    assert [(delivery.body, delivery.delivered) for delivery in again] == [(b"in hand", 1), (b"waits", 1)]
    assert again[0].consumer_since > again[0].timestamp
    assert await bus.consumer_created(stream.name, "file") is not None


async def test_publishes_with_an_id_survive_a_restart_and_keep_their_order(own_world: Any) -> None:
    world = own_world
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream))
    acks = [bus.publish(world.subject("a"), str(n).encode(), msg_id=f"m{n}") for n in range(3_000)]
    await world.kill()
    acks += [bus.publish(world.subject("a"), str(n).encode(), msg_id=f"m{n}") for n in range(3_000, 3_100)]
    await world.start()
    for ack in acks:
        await ack
    puller = bus.pull(stream.name, "c")
    seen: list[int] = []
    while len(seen) < 3_100:
        for delivery in await puller.next_batch(500):
            seen.append(int(delivery.body))
            delivery.ack()
    assert seen == list(range(3_100))


async def test_acks_while_the_connection_is_away_arrive_later(own_nats: EmbeddedNats) -> None:
    """The server stays: after a kill it may have forgotten that it delivered them, and delivers again."""
    stream = StreamSpec(name="S", subjects=("s.>",), retention="work_queue")
    async with JetStreamBus(own_nats.url, tuning=QUICK) as bus:
        await bus.ensure_stream(stream)
        await bus.ensure_consumer(ConsumerSpec(stream="S", name="c", filter_subject="s.>", ack_wait_seconds=60.0))
        for n in range(5):
            await bus.publish("s.a", str(n).encode())
        puller = bus.pull("S", "c")
        got: list[Any] = []
        while len(got) < 5:
            got.extend(await puller.next_batch(10))
        await bus._connection.wire.force_reconnect()
        assert not bus.connected
        for delivery in got[:3]:
            delivery.ack()
        await world_of(own_nats).until_count(stream, 2)


async def test_a_wiped_store_is_noticed_and_old_acks_do_no_harm(own_world: Any) -> None:
    """P2 and row 16: `created` changes and `last_seq` regresses; what was handed out before must not ack what came after."""
    world = own_world
    bus = await world.bus()
    stream = world.stream()
    reconnected = asyncio.Event()
    bus.on_reconnect(reconnected.set)
    before = await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream))
    for n in range(3):
        await bus.publish(world.subject("a"), str(n).encode(), msg_id=str(n))
    puller = bus.pull(stream.name, "c")
    old: list[Any] = []
    while len(old) < 3:
        old.extend(await puller.next_batch(10))
    waiting = asyncio.ensure_future(puller.next_batch(10))
    await asyncio.sleep(0)
    await world.wipe_and_start()
    with pytest.raises(NotFound):
        await asyncio.wait_for(waiting, 20)
    await asyncio.wait_for(reconnected.wait(), 20)
    assert await bus.stream_mark(stream.name) is None
    with pytest.raises(NotFound):
        await bus.publish(world.subject("a"), b"lost")
    after = await bus.ensure_stream(stream)
    assert after.created != before.created
    assert after.last_seq == 0
    await bus.ensure_consumer(world.consumer(stream))
    ack = await bus.publish(world.subject("a"), b"new", msg_id="0")
    assert (ack.seq, ack.duplicate) == (1, False)
    (new,) = await puller.next_batch(10)
    for delivery in old:
        delivery.ack()
    await bus.flush()
    assert new.body == b"new"
    assert await world.count(stream) == 1
    new.ack()
    await world.until_count(stream, 0)


async def test_subscriptions_and_services_live_through_a_restart(own_world: Any) -> None:
    world = own_world
    bus, client = await world.bus(), await world.bus("client")
    heard: asyncio.Queue[Message] = asyncio.Queue()
    await bus.subscribe(f"{world.prefix}.x", heard.put)

    async def answer(message: Message) -> None:
        bus.send(message.reply, b"pong")

    await bus.subscribe(f"{world.prefix}.ask", answer)
    await world.kill()
    await world.start()
    await settled(bus)
    assert (await client.request(f"{world.prefix}.ask", b"", timeout_seconds=20)).body == b"pong"
    client.send(f"{world.prefix}.x", b"1")
    assert (await asyncio.wait_for(heard.get(), 10)).body == b"1"


# -- JetStream alone: a broker in memory is never away


async def test_while_the_server_is_away_nothing_hangs(own_nats: EmbeddedNats) -> None:
    tuning = replace(QUICK, publish_timeout_seconds=0.5, held_messages=10)
    async with JetStreamBus(own_nats.url, tuning=tuning) as bus, JetStreamBus(own_nats.url, tuning=tuning) as other:
        heard: asyncio.Queue[Message] = asyncio.Queue()
        await other.subscribe("held.*", heard.put)
        await own_nats.kill()
        await wait_until(lambda: not bus.connected and not other.connected)
        with pytest.raises(PublishTimeout, match="not connected"):
            await bus.publish("s.a", b"1", msg_id="1")
        with pytest.raises(PublishTimeout):
            await bus.publish("s.a", b"1")
        with pytest.raises(Unreachable, match="no connection to NATS at nats://127"):
            await bus.request("a", b"", timeout_seconds=0.3)
        for n in range(20):
            bus.send(f"held.{n}", b"")
        await own_nats.start()
        await settled(other)
        await settled(bus)
        bus.send("held.end", b"")
        subjects = []
        while not subjects or subjects[-1] != "held.end":
            subjects.append((await asyncio.wait_for(heard.get(), 10)).subject)
        assert len(subjects) <= 11
        assert subjects == sorted(set(subjects), key=subjects.index)


async def test_a_puller_that_begins_while_the_server_is_away_begins_when_it_is_back(own_nats: EmbeddedNats) -> None:
    stream = StreamSpec(name="S", subjects=("s.>",), retention="work_queue")
    async with JetStreamBus(own_nats.url, tuning=QUICK) as bus:
        await bus.ensure_stream(stream)
        await bus.ensure_consumer(ConsumerSpec(stream="S", name="c", filter_subject="s.>"))
        await bus.publish("s.a", b"1")
        await own_nats.kill()
        await wait_until(lambda: not bus.connected)
        waiting = asyncio.ensure_future(bus.pull("S", "c").next_batch(1))
        await asyncio.sleep(0)
        await own_nats.start()
        assert [delivery.body for delivery in await asyncio.wait_for(waiting, 20)] == [b"1"]


@pytest.mark.parametrize("ping_seconds", [0.2, 1_000.0], ids=["pings notice it", "the missing heartbeat notices it"])
async def test_a_server_that_stands_still_and_goes_on(own_nats: EmbeddedNats, ping_seconds: float) -> None:
    stream = StreamSpec(name="S", subjects=("s.>",), retention="work_queue")
    tuning = replace(QUICK, ping_seconds=ping_seconds, publish_timeout_seconds=1.0, pull_heartbeat_seconds=0.2)
    async with JetStreamBus(own_nats.url, tuning=tuning) as bus:
        await bus.ensure_stream(stream)
        # when it goes on it may deliver to the connection that is gone: then the message comes again after the ack wait
        await bus.ensure_consumer(ConsumerSpec(stream="S", name="c", filter_subject="s.>", ack_wait_seconds=2.0))
        puller = bus.pull("S", "c")
        waiting = asyncio.ensure_future(puller.next_batch(1))
        await bus.flush()
        os.kill(own_nats.pid, signal.SIGSTOP)
        state = Path(f"/proc/{own_nats.pid}/stat")
        await wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", message="every thread has stopped")
        try:
            with pytest.raises(PublishTimeout):
                await bus.publish("s.a", b"lost or stored", msg_id="1")
            await wait_until(lambda: puller._state is not _State.PULLING, message="the puller notices")
        finally:
            os.kill(own_nats.pid, signal.SIGCONT)
        await settled(bus)
        ack = await bus.publish("s.a", b"1", msg_id="1")
        (delivery,) = await asyncio.wait_for(waiting, 20)
        assert delivery.stream_seq == ack.seq == 1


async def test_subscribing_goes_on_through_a_reconnect(own_nats: EmbeddedNats) -> None:
    """The answer to the flush behind a subscription died with the server; the one that came back knows the subscription all the same."""
    async with JetStreamBus(own_nats.url, tuning=QUICK) as bus:
        os.kill(own_nats.pid, signal.SIGSTOP)
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        async def hear(message: Message) -> None:
            heard.put_nowait(message.body)

        wire = bus._connection.wire
        answers_due = len(wire._pongs)
        subscribing = asyncio.ensure_future(bus.subscribe("news", hear))
        await wait_until(lambda: len(wire._pongs) > answers_due, message="the flush is on its way")
        await own_nats.kill()
        await own_nats.start()
        subscription = await asyncio.wait_for(subscribing, 20)
        bus.send("news", b"1")
        assert await asyncio.wait_for(heard.get(), 20) == b"1"
        await subscription.close()


async def test_publishes_past_the_bounds_wait_or_fail_at_once(own_nats: EmbeddedNats) -> None:
    tuning = replace(QUICK, max_in_flight=10, max_queued=50)
    async with JetStreamBus(own_nats.url, tuning=tuning) as bus:
        await bus.ensure_stream(StreamSpec(name="S", subjects=("s.>",), retention="work_queue"))
        acks = [bus.publish("s.a", str(n).encode()) for n in range(100)]
        outcomes = await asyncio.gather(*acks, return_exceptions=True)
        assert [outcome.seq for outcome in outcomes[:60]] == list(range(1, 61))  # type: ignore[union-attr]
        assert all(isinstance(outcome, PublishTimeout) and "50 publishes wait already" in str(outcome) for outcome in outcomes[60:])


async def test_a_request_in_flight_fails_when_the_connection_breaks(own_nats: EmbeddedNats) -> None:
    async with JetStreamBus(own_nats.url, tuning=QUICK) as bus:

        async def ignore(message: Message) -> None:
            del message

        await bus.subscribe("mute", ignore)
        asked = asyncio.ensure_future(bus.request("mute", b"", timeout_seconds=60))
        await bus.flush()
        await own_nats.kill()
        with pytest.raises(Unreachable, match="connection was lost"):
            await asyncio.wait_for(asked, 20)


async def test_a_raising_reconnect_callback_is_survived(own_nats: EmbeddedNats) -> None:
    async with JetStreamBus(own_nats.url, tuning=QUICK) as bus:
        called = asyncio.Event()

        def raising() -> None:
            raise ValueError("a callback must not raise, and this one does")

        bus.on_reconnect(raising)
        bus.on_reconnect(called.set)
        for _ in range(2):
            called.clear()
            await own_nats.kill()
            await own_nats.start()
            await asyncio.wait_for(called.wait(), 20)
        assert bus.connected


async def test_closing_while_the_server_is_away_is_quick_and_fails_what_waits(own_nats: EmbeddedNats) -> None:
    bus = JetStreamBus(own_nats.url, tuning=QUICK)
    async with bus:
        await own_nats.kill()
        await wait_until(lambda: not bus.connected)
        waiting = bus.publish("s.a", b"1", msg_id="1")
    with pytest.raises(PublishTimeout, match="closed"):
        await waiting


async def test_an_unreachable_server_is_said_in_one_line_without_the_password() -> None:
    port = free_port()
    bus = JetStreamBus(f"nats://user:secret@127.0.0.1:{port},nats://127.0.0.1:{port}", tuning=replace(QUICK, connect_seconds=0.5))
    with pytest.raises(Unreachable) as caught:
        await bus.__aenter__()
    text = str(caught.value)
    assert f"nats://127.0.0.1:{port},nats://127.0.0.1:{port}" in text
    assert "secret" not in text
    assert "\n" not in text


async def test_no_password_goes_to_a_server_without_tls(own_nats: EmbeddedNats) -> None:
    url = own_nats.url.replace("nats://", "tls://user:secret@")
    with pytest.raises(Unreachable, match="offers no TLS"):
        await JetStreamBus(url, tuning=replace(QUICK, connect_seconds=0.5)).__aenter__()


async def test_a_refused_login_is_said(server_dir: Path) -> None:
    class Guarded(EmbeddedNats):
        def _config(self) -> dict[str, object]:
            return {**super()._config(), "authorization": {"user": "u", "password": "p"}}

    async with Guarded(server_dir / "guarded") as server:
        url = server.url.replace("nats://", "nats://u:wrong@")
        with pytest.raises(Misconfigured, match=r"(?i)authorization"):  # not for waiting
            await JetStreamBus(url, tuning=replace(QUICK, connect_seconds=0.5)).__aenter__()
        async with JetStreamBus(server.url.replace("nats://", "nats://u:p@")) as bus:
            await bus.flush()


async def test_a_server_without_jetstream_is_said(server_dir: Path) -> None:
    class Plain(EmbeddedNats):
        def _config(self) -> dict[str, object]:
            return {name: value for name, value in super()._config().items() if name != "jetstream"}

    async with Plain(server_dir / "plain") as server, JetStreamBus(server.url) as bus:
        with pytest.raises(Unreachable, match="no JetStream"):
            await bus.stream_mark("S")


async def test_a_certificate_that_is_not_there_is_said() -> None:
    with pytest.raises(Misconfigured, match=r"WAYPOST_NATS_CA='/nowhere\.pem'"):
        await JetStreamBus("nats://127.0.0.1:1", ca="/nowhere.pem").__aenter__()
