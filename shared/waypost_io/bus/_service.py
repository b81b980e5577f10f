"""Hosting a NATS service (`nats micro ls`): concurrent endpoints within a bound, errors as Waypost states them. Adapter of `nats.micro`.

nats.micro runs the requests of an endpoint one after another and answers an exception with its `repr`; here each request is a task
of its own, and an answer never shows more than the error's message. Protocol: NATS ADR-32.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence

import structlog
from nats import errors
from nats.micro import add_service
from nats.micro.request import Request
from nats.micro.service import EndpointStats, ServiceConfig
from nats.micro.service import Service as MicroService

from waypost_io.bus._connection import Connection
from waypost_io.bus._frames import check_subject, encode_headers, publish_frame
from waypost_io.bus.ports import Endpoint, Headers, Message
from waypost_proto.api import ApiError
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput, WaypostError

log = structlog.get_logger(__name__)

MAX_CONCURRENT_REQUESTS = 256
"""Per service; what is more waits in the subscription."""
DRAIN_SECONDS = 5.0
"""How long `close` waits for requests that are being answered."""
ERROR_CODE_HEADER = "Nats-Service-Error-Code"
ERROR_HEADER = "Nats-Service-Error"


class _Counters:
    """What nats.micro would count if requests were answered one after another."""

    __slots__ = ("errors", "last_error", "nanoseconds", "requests")

    def __init__(self) -> None:
        self.requests = self.errors = self.nanoseconds = 0
        self.last_error = ""

    def fill(self, stats: EndpointStats) -> None:
        stats.num_requests, stats.num_errors, stats.last_error = self.requests, self.errors, self.last_error or None
        stats.processing_time = self.nanoseconds
        stats.average_processing_time = self.nanoseconds // max(1, self.requests)


class JetStreamService:
    """A service that is being hosted. `start` once, `close` any number of times."""

    def __init__(self, connection: Connection, identity: tuple[str, str, str], endpoints: Sequence[Endpoint]) -> None:
        self._connection = connection
        self._name, self._version, self._description = identity
        self._endpoints = endpoints
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
        self._running: set[asyncio.Task[None]] = set()
        self._counters: dict[str, _Counters] = {}
        self._micro: MicroService | None = None

    @property
    def closed(self) -> bool:
        return self._micro is None

    async def start(self) -> None:
        """Announce the service and its endpoints. Raises `BadInput` for a name or version that NATS refuses."""
        try:
            config = ServiceConfig(name=self._name, version=self._version, description=self._description, stats_handler=self._fill)
        except ValueError as error:
            raise BadInput(f"service {self._name!r} version {self._version!r}: {error}") from error
        self._micro = await add_service(self._connection.wire, config)
        for endpoint in self._endpoints:
            self._counters[endpoint.name] = _Counters()
            try:
                await self._micro.add_endpoint(name=endpoint.name, subject=check_subject(endpoint.subject), handler=self._handler(endpoint))
            except ValueError as error:
                raise BadInput(f"endpoint {endpoint.name!r} on {endpoint.subject!r}: {error}") from error

    async def close(self) -> None:
        """Stop taking requests, let those in progress finish within `DRAIN_SECONDS`. Idempotent."""
        micro, self._micro = self._micro, None
        if micro is None:
            return
        with contextlib.suppress(errors.Error, OSError, AssertionError):  # not connected: there is nothing to take back
            await micro.stop()
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=DRAIN_SECONDS)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)

    def _handler(self, endpoint: Endpoint) -> Callable[[Request], asyncio.Future[None]]:
        async def handle(request: Request) -> None:
            await self._slots.acquire()
            task = asyncio.get_running_loop().create_task(self._answer(endpoint, request), name=f"serve {endpoint.name}")
            self._running.add(task)
            task.add_done_callback(self._finished)

        return handle  # type: ignore[return-value]

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._slots.release()
        if not task.cancelled() and task.exception() is not None:
            log.error("bus.answer_failed", exc_info=task.exception())

    async def _answer(self, endpoint: Endpoint, request: Request) -> None:
        message = request._msg
        started = time.perf_counter_ns()
        counters = self._counters[endpoint.name]
        body, headers = await answer_of(
            endpoint, Message(message.subject, message.data, dict(message.headers or {}), message.reply), self._connection.limit
        )
        counters.requests += 1
        counters.nanoseconds += time.perf_counter_ns() - started
        if ERROR_CODE_HEADER in headers:
            counters.errors += 1
            counters.last_error = f"{headers[ERROR_CODE_HEADER]}: {headers[ERROR_HEADER]}"
        if message.reply:
            self._connection.send(message.reply, body, headers, "")

    def _fill(self, stats: EndpointStats) -> None:
        self._counters[stats.name].fill(stats)


async def answer_of(endpoint: Endpoint, message: Message, limit: int) -> tuple[bytes, Headers]:
    """Run the handler; what it raises becomes an error answer. Only cancellation goes through."""
    headers: Headers
    try:
        result = await endpoint.handler(message)
        body, headers = result if isinstance(result, tuple) else (result, {})
        publish_frame("size.check", "", encode_headers(headers), body, limit=limit)
    except WaypostError as error:
        return error_answer(error.code, type(error).__name__, str(error))
    except Exception:  # the boundary to the caller: nothing a handler raises may end the service
        log.exception("bus.handler_failed", endpoint=endpoint.name)
        return error_answer("500", "InternalError", "an internal error, see the log of the service")
    return body, headers


def error_answer(code: str, title: str, detail: str) -> tuple[bytes, Headers]:
    """Body and headers of an error answer: `ApiError` as JSON, and the two headers of NATS services."""
    short = detail.splitlines()[0][:500] if detail else title
    body = encode(ApiError(status=int(code), title=title, detail=detail[:8_000]))
    return body, {ERROR_CODE_HEADER: code, ERROR_HEADER: short}
