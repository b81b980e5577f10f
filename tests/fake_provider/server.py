"""The server: HTTP/1.1 on loopback, one connection a task, a reply a request."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from tests.fake_provider.dialects import Anthropic, OpenAI, frame
from tests.fake_provider.replies import Reply

_FOREVER = 3_600.0
_DIALECTS = {"/chat/completions": OpenAI(), "/messages": Anthropic()}


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class FakeProvider:
    """An async context manager. Answers from `plan`, in order, then with `usual`; both may be a function of the request's body.

    `gone` counts requests whose client went away before it had its whole answer.
    """

    def __init__(self, *plan: Reply, usual: Reply | Callable[[dict[str, Any]], Reply] | None = None, port: int = 0) -> None:
        self.plan: deque[Reply] = deque(plan)
        self.usual = usual or Reply(text="A usual answer.")
        self.heard: list[Heard] = []
        self.answered = 0
        self.gone = 0
        self._port = port
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def openai(self) -> str:
        """The `base_url` for OpenAI's SDK."""
        return f"{self.url}/v1"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            while (heard := await _request(reader)) is not None:
                self.heard.append(heard)
                try:
                    if not await self._answer(heard, writer):
                        break
                    self.answered += 1
                except (ConnectionError, TimeoutError):
                    self.gone += 1
                    break
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _next(self, body: dict[str, Any]) -> Reply:
        if self.plan:
            return self.plan.popleft()
        return self.usual(body) if callable(self.usual) else self.usual

    async def _answer(self, heard: Heard, writer: asyncio.StreamWriter) -> bool:
        """True if the connection can be used again."""
        dialect = next((d for suffix, d in _DIALECTS.items() if heard.path.endswith(suffix)), None)
        if dialect is None:
            _head(writer, 404, {}, b'{"error":{"message":"no such path"}}')
            return True
        reply = self._next(heard.body)
        if reply.hang:
            await asyncio.sleep(_FOREVER)
        await asyncio.sleep(reply.delay)
        model = str(heard.body.get("model"))
        if reply.raw is not None:
            _head(writer, reply.status, reply.headers, reply.raw)
        elif reply.status != 200:
            _head(writer, reply.status, reply.headers, json.dumps(dialect.error(reply)).encode())
        elif heard.body.get("stream"):
            return await self._stream(dialect, reply, model, writer)
        else:
            _head(writer, 200, reply.headers, json.dumps(dialect.whole(reply, model)).encode())
        await writer.drain()
        return True

    async def _stream(self, dialect: OpenAI | Anthropic, reply: Reply, model: str, writer: asyncio.StreamWriter) -> bool:
        head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
        writer.write((head + "".join(f"{k}: {v}\r\n" for k, v in reply.headers.items()) + "\r\n").encode())
        for number, event in enumerate(dialect.events(reply, model)):
            if number == reply.cut_after:
                writer.transport.abort()
                return False
            if number == reply.error_after:
                _chunk(writer, frame(dialect.error_event(reply)))
                break
            _chunk(writer, frame(event))
            if reply.piece_delay:
                await writer.drain()
                await asyncio.sleep(reply.piece_delay)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


async def _request(reader: asyncio.StreamReader) -> Heard | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Heard(path=first.split(" ")[1].split("?")[0], headers=headers, body=json.loads(body or b"{}"))


def _head(writer: asyncio.StreamWriter, status: int, headers: dict[str, str], body: bytes) -> None:
    lines = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    writer.write((f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode() + body)


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
