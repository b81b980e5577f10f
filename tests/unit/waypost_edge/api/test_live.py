"""Live events over HTTP: each once and in order, whatever is lost on the way, until the run has ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec
import pytest
from msgspec import Raw

from tests.unit.waypost_edge.api.rig import Edge, edge_over
from tests.waiting import wait_until
from waypost_edge.api.watching import Watcher
from waypost_io.bus.memory import MemoryBus
from waypost_proto.codec import encode
from waypost_proto.events import RunCompleted, SignalReceived
from waypost_proto.ids import CallId, RunId
from waypost_proto.streams import StreamPieces, StreamStarted, TextPiece
from waypost_proto.values import Token

STREAM = {"accept": "text/event-stream"}


@dataclass
class Heard:
    """Messages of a stream as an EventSource sees them: (type, id, data)."""

    messages: list[tuple[str, str, Any]] = field(default_factory=list)
    ended: bool = False

    @property
    def seqs(self) -> list[int]:
        return [int(number) for kind, number, _ in self.messages if kind == "message"]

    def kinds(self) -> list[str]:
        return [kind for kind, _, _ in self.messages]


def parse(block: str) -> tuple[str, str, Any] | None:
    kind, number, data = "message", "", []
    for line in block.split("\n"):
        name, _, value = line.partition(": ")
        match name:
            case "event":
                kind = value
            case "id":
                number = value
            case "data":
                data.append(value)
    return (kind, number, msgspec.json.decode("\n".join(data))) if data else None


@asynccontextmanager
async def listening(edge: Edge, path: str, **headers: str) -> AsyncIterator[Heard]:
    heard = Heard()

    async def listen() -> None:
        async with edge.http.stream("GET", path, headers={**STREAM, **headers}) as answer:
            assert answer.status_code == 200, await answer.aread()
            rest = ""
            async for text in answer.aiter_text():
                *blocks, rest = (rest + text).split("\n\n")
                heard.messages += [found for block in blocks if (found := parse(block)) is not None]
        heard.ended = True

    task = asyncio.ensure_future(listen())
    try:
        yield heard
        if task.done():
            await task
    finally:
        task.cancel()
        await asyncio.wait([task])


def signal(text: str = "x") -> SignalReceived:
    return SignalReceived(name=text, payload=Raw(b"1"))


async def test_what_was_and_what_comes_each_once(edge: Edge) -> None:
    run_id = await edge.desk.started()
    await edge.desk.play(run_id, signal())
    async with listening(edge, f"/v1/runs/{run_id}/events") as heard:
        await wait_until(lambda: heard.seqs == [1, 2])
        await edge.desk.play(run_id, signal(), signal())
        await wait_until(lambda: heard.seqs == [1, 2, 3, 4])
        await edge.desk.play(run_id, RunCompleted(result=Raw(b'"done"')))
        await wait_until(lambda: heard.ended)
    assert heard.seqs == [1, 2, 3, 4, 5]
    assert heard.kinds()[-1] == "end"
    assert heard.messages[0][2]["type"] == "run_started"
    [row] = await edge.desk.store.log.load_events(run_id, after=4)
    assert heard.messages[4][2] == msgspec.json.decode(row.body)


async def test_a_watcher_goes_on_where_it_was(edge: Edge) -> None:
    run_id = await edge.desk.started()
    await edge.desk.play(run_id, signal(), signal(), RunCompleted())
    async with listening(edge, f"/v1/runs/{run_id}/events?after=1", **{"last-event-id": "2"}) as heard:
        await wait_until(lambda: heard.ended)
    assert heard.seqs == [3, 4]
    answer = await edge.http.get(f"/v1/runs/{run_id}/events", headers={**STREAM, "last-event-id": "4"})
    assert answer.status_code == 204, "an EventSource that is told so does not come back"


async def test_who_waits_is_sent_an_event_without_waking(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many who watch one run get the same bytes; those who ask for what models write are woken, for they get more than the event."""
    run_id = await edge.desk.started()
    path = f"/v1/runs/{run_id}/events"
    async with AsyncExitStack() as stack:
        many = [await stack.enter_async_context(listening(edge, path)) for _ in range(8)]
        await wait_until(lambda: all(heard.seqs == [1] for heard in many))
        with monkeypatch.context() as patched:
            patched.setattr(Watcher, "_live", None)
            await edge.desk.play(run_id, signal(), signal())
            await wait_until(lambda: all(heard.seqs == [1, 2, 3] for heard in many))
        with_tokens = await stack.enter_async_context(listening(edge, f"{path}?tokens=1"))
        await wait_until(lambda: with_tokens.seqs == [1, 2, 3])
        await edge.desk.play(run_id, signal(), RunCompleted())
        await wait_until(lambda: all(heard.ended for heard in (*many, with_tokens)))
    assert [heard.seqs for heard in (*many, with_tokens)] == [[1, 2, 3, 4, 5]] * 9
    assert many[0].messages == with_tokens.messages


async def test_a_peer_of_http_1_0_gets_no_chunks(edge: Edge) -> None:
    run_id = await edge.desk.started()
    reader, writer = await asyncio.open_connection(*edge.address)
    writer.write(f"GET /v1/runs/{run_id}/events HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"id: 1\n")
        await edge.desk.play(run_id, signal(), RunCompleted())
        rest = await reader.read()
    writer.close()
    assert b"chunked" not in head
    found = [parsed for block in rest.decode().split("\n\n") if (parsed := parse(block)) is not None]
    assert [(kind, number) for kind, number, _ in found[-3:]] == [("message", "2"), ("message", "3"), ("end", "")]


async def test_a_lost_message_leaves_no_gap(edge: Edge) -> None:
    run_id = await edge.desk.started()
    async with listening(edge, f"/v1/runs/{run_id}/events") as heard:
        await wait_until(lambda: heard.seqs == [1])
        edge.desk.publish = False
        await edge.desk.play(run_id, signal(), signal())
        edge.desk.publish = True
        await edge.desk.play(run_id, signal())
        await wait_until(lambda: heard.seqs == [1, 2, 3, 4])


async def test_what_nobody_heard_is_found_in_the_log(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_edge.api.feed.LOOK_SECONDS", 0.05)
    run_id = await edge.desk.started()
    async with listening(edge, f"/v1/runs/{run_id}/events") as heard:
        await wait_until(lambda: heard.seqs == [1])
        edge.desk.publish = False
        await edge.desk.play(run_id, RunCompleted())
        await wait_until(lambda: heard.ended)
    assert heard.seqs == [1, 2]


async def test_many_events_come_in_pages(edge: Edge) -> None:
    run_id = await edge.desk.started()
    await edge.desk.play(run_id, *[signal() for _ in range(300)])
    async with listening(edge, f"/v1/runs/{run_id}/events") as heard:
        await wait_until(lambda: heard.seqs == list(range(1, 302)))


async def test_what_models_write_comes_when_it_is_asked_for(edge: Edge) -> None:
    run_id = await edge.desk.started()
    call = CallId("0:1")

    def say() -> None:
        subject = edge.desk.subjects.tokens(run_id)
        edge.desk.bus.send(subject, encode(StreamStarted(run_id=run_id, call_id=call, attempt="a", token=Token(epoch=1, counter=1))))
        edge.desk.bus.send(subject, encode(StreamPieces(run_id=run_id, call_id=call, attempt="a", seq=1, pieces=[TextPiece(text="hel")])))
        edge.desk.bus.send(subject, encode(StreamPieces(run_id=run_id, call_id=call, attempt="a", seq=3, pieces=[TextPiece(text="lo")])))

    path = f"/v1/runs/{run_id}/events"
    async with listening(edge, path) as without, listening(edge, f"{path}?tokens=1") as heard:
        await wait_until(lambda: heard.seqs == [1] and without.seqs == [1])
        say()
        await wait_until(lambda: len(heard.messages) == 5)
    tokens = [data for kind, _, data in heard.messages if kind == "token"]
    assert [(item["kind"], item.get("text")) for item in tokens] == [("started", None), ("text", "hel"), ("gap", None), ("text", "lo")]
    assert without.kinds() == ["message"]


async def test_the_list_hears_of_changes(edge: Edge) -> None:
    async with (
        listening(edge, "/v1/events") as all_runs,
        listening(edge, "/v1/events?agent=desk&status=paused,failed") as paused,
        listening(edge, "/v1/events?label.team=ops") as ops,
    ):
        await wait_until(lambda: all(heard.kinds() == ["ready"] for heard in (all_runs, paused, ops)))
        run_id = await edge.desk.started(labels={"team": "ops"})
        other = await edge.desk.started("other")
        await wait_until(lambda: len(all_runs.messages) == 3)
        await edge.post(f"/v1/runs/{run_id}/pause")
        await wait_until(lambda: len(all_runs.messages) == 4 and len(paused.messages) == 2)
    assert {data["run_id"] for _, _, data in all_runs.messages[1:3]} == {run_id, other}
    change = paused.messages[1][2]
    assert (change["run_id"], change["status"], change["type"]) == (run_id, "paused", "run_paused")
    assert [data["run_id"] for _, _, data in ops.messages[1:]] == [run_id, run_id]
    assert "did you mean" in await edge.get("/v1/events?stat=paused", 400, accept="text/event-stream")
    assert "not one of" in await edge.get("/v1/events?status=odd", 400, accept="text/event-stream")


async def test_a_list_hears_of_changes_when_another_has_left(edge: Edge) -> None:
    async with listening(edge, "/v1/events") as stays:
        async with listening(edge, "/v1/events") as leaves:
            await wait_until(lambda: stays.kinds() == leaves.kinds() == ["ready"])
        await wait_until(lambda: len(edge.api.live.crowd) == 1)
        run_id = await edge.desk.started()
        await wait_until(lambda: len(stays.messages) == 2)
    assert stays.messages[1][2]["run_id"] == run_id


async def test_wrong_cursors_and_runs(edge: Edge) -> None:
    run_id = await edge.desk.started()
    path = f"/v1/runs/{run_id}/events"
    for cursor in ("-1", "x", "9" * 30, "1.5"):
        assert "not the id of an event" in await edge.get(path, 400, accept="text/event-stream", last_event_id=cursor)
    missing = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
    assert "no run" in await edge.get(f"/v1/runs/{missing}/events", 404, accept="text/event-stream")


async def test_too_many_watchers_are_told_to_come_again() -> None:
    async with MemoryBus() as bus, edge_over(bus, watchers=1) as edge:
        run_id = await edge.desk.started()
        path = f"/v1/runs/{run_id}/events"
        async with listening(edge, path) as heard:
            await wait_until(lambda: heard.seqs == [1])
            answer = await edge.http.get(path, headers=STREAM)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        await wait_until(lambda: len(edge.api.live.crowd) == 0)
        async with listening(edge, path) as heard:
            await wait_until(lambda: heard.seqs == [1])


async def test_a_stop_ends_every_stream(edge: Edge) -> None:
    run_id = await edge.desk.started()
    async with listening(edge, f"/v1/runs/{run_id}/events") as heard:
        await wait_until(lambda: heard.seqs == [1])
        edge.api.live.crowd.stop()
        await wait_until(lambda: heard.ended)
    assert heard.kinds() == ["message"], "it has not ended, so it is not said to have"


async def test_a_silent_stream_beats(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_edge.api.sse.BEAT_SECONDS", 0.05)
    monkeypatch.setattr("waypost_edge.api.sse.LOOK_SECONDS", 0.05)
    async with MemoryBus() as bus, edge_over(bus) as edge:
        run_id = await edge.desk.started()
        async with edge.http.stream("GET", f"/v1/runs/{run_id}/events", headers=STREAM) as answer:
            text = ""
            async for piece in answer.aiter_text():
                text += piece
                if text.count(":\x20\n\n") >= 2:
                    break
    assert text.startswith("retry: 1000\n\n")


async def more_than_the_sockets_hold(edge: Edge, run_id: RunId) -> None:
    big = SignalReceived(name="x", payload=Raw(encode("y" * 200_000)))
    for _ in range(50):
        await edge.desk.play(run_id, big)


@pytest.mark.parametrize("live", [False, True])
async def test_who_does_not_read_is_cut_off(edge: Edge, monkeypatch: pytest.MonkeyPatch, live: bool) -> None:
    monkeypatch.setattr("waypost_edge.api.sse.SLOW_SECONDS", 0.2)
    monkeypatch.setattr("waypost_edge.api.sse.LOOK_SECONDS", 0.05)
    async with MemoryBus() as bus, edge_over(bus) as edge:
        run_id = await edge.desk.started()
        if not live:
            await more_than_the_sockets_hold(edge, run_id)
        own = socket.socket()
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, edge.address)
        reader, writer = await asyncio.open_connection(sock=own, limit=1024)
        writer.write(f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        await reader.readuntil(b"id: 1\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        if live:
            await more_than_the_sockets_hold(edge, run_id)
        await wait_until(lambda: len(edge.api.live.crowd) == 0)
        writer.close()
        with pytest.raises((httpx2.HTTPError, OSError, asyncio.IncompleteReadError)):
            await reader.readexactly(1 << 30)
