"""Answering the requests of a service: concurrently within a bound, errors as Waypost states them. Shared by both adapters.

Owns the tasks that answer and what is counted about them; knows nothing of how requests arrive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from waypost_io.bus._frames import encode_headers, publish_frame
from waypost_io.bus.ports import Endpoint, Headers, Message
from waypost_proto.api import ApiError
from waypost_proto.codec import encode
from waypost_proto.errors import WaypostError

log = structlog.get_logger(__name__)

MAX_CONCURRENT_REQUESTS = 256
"""Per service; what is more waits in the subscription."""
DRAIN_SECONDS = 5.0
"""How long `close` waits for requests that are being answered."""
ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"
MAX_DETAIL_CHARS = 8_000

Reply = Callable[[str, bytes, Headers], None]
"""Sends body and headers to a reply subject."""


class Counters:
    """What `$SRV.STATS` says of one endpoint."""

    __slots__ = ("errors", "last_error", "nanoseconds", "requests")

    def __init__(self) -> None:
        self.requests = self.errors = self.nanoseconds = 0
        self.last_error = ""


class Answerer:
    """Runs the handlers of one service. `reply` sends an answer, `limit_bytes` is what it may hold."""

    def __init__(self, reply: Reply, limit_bytes: int) -> None:
        self._reply = reply
        self._limit = limit_bytes
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
        self._running: set[asyncio.Task[None]] = set()
        self._counters: dict[str, Counters] = {}

    def counters(self, endpoint_name: str) -> Counters:
        """The counters of an endpoint, by its name."""
        return self._counters.setdefault(endpoint_name, Counters())

    async def take(self, endpoint: Endpoint, message: Message) -> None:
        """Begin to answer a request; waits only while too many are being answered."""
        await self._slots.acquire()
        task = asyncio.get_running_loop().create_task(self._answer(endpoint, message), name=f"serve {endpoint.name}")
        self._running.add(task)
        task.add_done_callback(self._finished)

    async def close(self) -> None:
        """Let requests in progress finish within `DRAIN_SECONDS`, then cancel them. Idempotent."""
        if not self._running:
            return
        _, late = await asyncio.wait(set(self._running), timeout=DRAIN_SECONDS)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()
        if not task.cancelled() and task.exception() is not None:
            log.error("bus.answer_failed", exc_info=task.exception())

    async def _answer(self, endpoint: Endpoint, message: Message) -> None:
        started = time.perf_counter_ns()
        body, headers = await self._answer_of(endpoint, message)
        counters = self.counters(endpoint.name)
        counters.requests += 1
        counters.nanoseconds += time.perf_counter_ns() - started
        if ERROR_CODE_HEADER in headers:
            counters.errors += 1
            counters.last_error = f"{headers[ERROR_CODE_HEADER]}: {headers[ERROR_HEADER]}"
        if message.reply:
            self._reply(message.reply, body, headers)

    async def _answer_of(self, endpoint: Endpoint, message: Message) -> tuple[bytes, Headers]:
        """Run the handler; what it raises becomes an error answer. Only cancellation goes through."""
        headers: Headers
        try:
            result = await endpoint.handler(message)
            body, headers = result if isinstance(result, tuple) else (result, {})
            publish_frame("size.check", "", encode_headers(headers), body, limit=self._limit)
        except WaypostError as error:
            return error_answer(error.code, type(error).__name__, str(error))
        except Exception:  # the boundary to the caller: nothing a handler raises may end the service
            log.exception("bus.handler_failed", endpoint=endpoint.name)
            return error_answer("500", "InternalError", "an internal error; the log of the service says more")
        return body, headers


def error_answer(code: str, title: str, detail: str) -> tuple[bytes, Headers]:
    """Body and headers of an error answer: `ApiError` as JSON, and the two headers of NATS services (ADR-32)."""
    short = detail.splitlines()[0][:500] if detail else title
    body = encode(ApiError(status=int(code), title=title, detail=detail[:MAX_DETAIL_CHARS]))
    return body, {ERROR_CODE_HEADER: code, ERROR_HEADER: short}
