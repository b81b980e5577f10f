"""One request to an endpoint: what is in it, how it is signed (standardwebhooks.com), what it may reach.

    webhook-id: 0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55.7     run and number of the event: the same whenever it is sent
    webhook-timestamp: 1796144400
    webhook-signature: v1,<base64 HMAC-SHA256 of "id.timestamp.body">

Connections pass the guard of HTTP tools (ADR 0220): public addresses on ports 80 and 443, and what `allow` or `WAYPOST_HTTP_ALLOW` names,
judged where the connection is made. Redirects are not followed: a signature goes where it was addressed. An answer's body is not read.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from typing import Self

import httpx2
import msgspec

from waypost.http.connections import Connections
from waypost.http.egress import Egress
from waypost.http.hosts import EgressRefused
from waypost_edge.webhooks.subscriptions import Subscription
from waypost_proto.codec import encode
from waypost_proto.events import Event
from waypost_proto.values import Value

MAX_RETRY_AFTER_SECONDS = 3_600.0


class Payload(Value, frozen=True, kw_only=True):
    """The body. `data` is the event as it is stored."""

    type: str
    timestamp: str
    data: msgspec.Raw


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt: `problem` is "" when it was taken. `final`: it makes no sense to try again."""

    problem: str = ""
    final: bool = False
    retry_after_seconds: float = 0.0


def id_of(event: Event) -> str:
    """Of a message about this event: receivers tell repeats by it."""
    return f"{event.run_id}.{event.seq}"


def body_of(event: Event, stored: bytes) -> bytes:
    """What is sent for an event with these stored bytes."""
    return encode(Payload(type=event.type, timestamp=event.recorded_at, data=msgspec.Raw(stored)))


def headers_of(message_id: str, body: bytes, secret: bytes, at: float) -> dict[str, str]:
    """Signed at `at`, Unix seconds."""
    moment = str(int(at))
    mac = hmac.new(secret, f"{message_id}.{moment}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": "waypost",
        "webhook-id": message_id,
        "webhook-timestamp": moment,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


class Sender:
    """Sends to one endpoint. An async context manager."""

    def __init__(self, webhook: Subscription) -> None:
        self._webhook = webhook
        self._connections = Connections(Egress(allow=tuple(webhook.allow)))

    async def __aenter__(self) -> Self:
        await self._connections.__aenter__()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._connections.__aexit__(None, None, None)

    async def send(self, message_id: str, body: bytes, at: float) -> Answer:
        """One attempt, bounded in time. Whatever happens is an `Answer`: an endpoint is somebody else's. Safe to cancel."""
        headers = headers_of(message_id, body, self._webhook.secret(), at)
        try:
            async with asyncio.timeout(self._webhook.timeout_seconds), self._connections.transport() as transport:
                request = httpx2.Request("POST", self._webhook.url, headers=headers, content=body)
                answer = await transport.handle_async_request(request)
                await answer.aclose()
        except EgressRefused as error:
            return Answer(problem=str(error))
        except TimeoutError:
            return Answer(problem=f"no answer within {self._webhook.timeout_seconds:g} s")
        except httpx2.HTTPError as error:
            return Answer(problem=f"{type(error).__name__}: {error}")
        if 200 <= answer.status_code < 300:
            return Answer()
        return Answer(
            problem=f"status {answer.status_code}",
            final=answer.status_code == 410,  # the receiver says that nobody listens there any more
            retry_after_seconds=_seconds(answer.headers.get("retry-after", "")),
        )


def _seconds(text: str) -> float:
    return min(MAX_RETRY_AFTER_SECONDS, float(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
