"""Hosting a NATS service, so that `nats micro ls` shows it. Adapter of `nats.micro` (NATS ADR-32).

nats.micro runs the requests of an endpoint one after another and answers an exception with its `repr`; here `_answers` runs
them, and nats.micro only announces the service and takes requests in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from nats import errors
from nats.micro import add_service
from nats.micro.request import Handler, Request
from nats.micro.service import EndpointStats, ServiceConfig
from nats.micro.service import Service as MicroService

from waypost_io.bus._answers import Answerer
from waypost_io.bus._connection import Connection
from waypost_io.bus._frames import check_subject
from waypost_io.bus.ports import Endpoint, Headers, Message
from waypost_proto.errors import BadInput


class JetStreamService:
    """A service that is being hosted. `start` once, `close` any number of times."""

    def __init__(self, connection: Connection, identity: tuple[str, str, str], endpoints: Sequence[Endpoint]) -> None:
        self._connection = connection
        self._name, self._version, self._description = identity
        self._endpoints = endpoints
        self._answerer = Answerer(self._reply, connection.limit)
        self._micro: MicroService | None = None

    @property
    def closed(self) -> bool:
        return self._micro is None

    async def start(self) -> None:
        """Announce the service and its endpoints. Raises `BadInput` for a name or version that NATS refuses."""
        try:
            config = ServiceConfig(name=self._name, version=self._version, description=self._description, stats_handler=self._count)
        except ValueError as error:
            raise BadInput(f"service {self._name!r} version {self._version!r}: {error}") from error
        self._micro = await add_service(self._connection.wire, config)
        for endpoint in self._endpoints:
            subject = check_subject(endpoint.subject)
            try:
                await self._micro.add_endpoint(name=endpoint.name, subject=subject, handler=self._handler(endpoint))
            except ValueError as error:
                raise BadInput(f"endpoint {endpoint.name!r} on {subject!r}: {error}") from error
        await self._connection.subscriptions_known(self._connection.tuning.connect_seconds)

    async def close(self) -> None:
        """Stop taking requests, let those in progress finish within a bound. Idempotent."""
        micro, self._micro = self._micro, None
        if micro is None:
            return
        with contextlib.suppress(errors.Error, OSError, AssertionError):  # not connected: there is nothing to take back
            await micro.stop()
        await self._answerer.close()

    def _handler(self, endpoint: Endpoint) -> Handler:
        async def handle(request: Request) -> None:
            message = request._msg
            await self._answerer.take(endpoint, Message(message.subject, message.data, dict(message.headers or {}), message.reply))

        return handle

    def _reply(self, subject: str, body: bytes, headers: Headers) -> None:
        self._connection.send(subject, body, headers, "")

    def _count(self, stats: EndpointStats) -> None:
        """nats.micro counts how fast requests were taken in; what matters is how they were answered."""
        counters = self._answerer.counters(stats.name)
        stats.num_requests, stats.num_errors = counters.requests, counters.errors
        stats.last_error = counters.last_error or None
        stats.processing_time = counters.nanoseconds
        stats.average_processing_time = counters.nanoseconds // max(1, counters.requests)
