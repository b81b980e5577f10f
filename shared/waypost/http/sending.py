"""Sending one request and reading its answer, bounded in every way. Owns redirects; what an answer means is decided elsewhere.

No client stands above the transport: cookies would travel from one run to the next, and proxies, netrc files and redirect rules would come
from the environment. Redirects are off; where a tool allows some, only GET and HEAD follow them, each hop is read and judged as the first
request was, https never becomes http, and to another origin nothing is sent but what every server may see.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urljoin

import httpx2

from waypost.http.errors import EgressRefused, NoAnswer, NotConnected, ResultUnusable
from waypost.http.hosts import read_url
from waypost.http.request import Outgoing
from waypost.http.transport import GuardedTransport, ResponseEncoded, ResponseTooLarge

REDIRECTS = (301, 302, 303, 307, 308)
ANYBODYS_HEADERS = frozenset({"accept", "accept-language", "user-agent", "traceparent"})
"""What may go to another origin than the one that the tool's author wrote down."""
ERROR_BYTES = 16 * 1024
"""Of an answer that is no result: enough for its message."""
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds and bytes of one request."""

    seconds: float
    connect_seconds: float
    max_bytes: int
    redirects: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` of an error is cut, and whole otherwise. `request` is the last one, after redirects."""

    status: int
    headers: httpx2.Headers
    body: bytes
    request: Outgoing


async def send(transport: GuardedTransport, request: Outgoing, limits: Limits) -> Answer:
    """Send `request` and read the answer whole.

    Raises `EgressRefused` or `NotConnected` when nothing was sent, `NoAnswer` when it was and no whole answer came, `ResultUnusable` for
    an answer with a 2xx status that is larger than `limits.max_bytes` or compressed.
    """
    first = request
    for _ in range(limits.redirects + 1):
        answer = await _once(transport, request, limits)
        if answer.status not in REDIRECTS or request.method not in ("GET", "HEAD") or limits.redirects == 0:
            return answer
        request = _redirected(answer)
    raise NoAnswer(f"{first.shown}: more than {limits.redirects} redirects, the last one to {request.target.base}")


async def _once(transport: GuardedTransport, request: Outgoing, limits: Limits) -> Answer:
    timeout = {"connect": limits.connect_seconds, "pool": limits.connect_seconds, "read": limits.seconds, "write": limits.seconds}
    prepared = httpx2.Request(
        request.method,
        str(request.target),
        headers=[("Accept-Encoding", "identity"), *request.headers],
        content=request.body,
        extensions={"timeout": timeout},
    )
    if prepared.url.host != request.target.host.name.strip("[]"):
        raise EgressRefused(f"{request.shown}: the HTTP library reads the host as {prepared.url.host!r}; nothing was sent")
    try:
        response = await transport.handle_async_request(prepared)
    except _UNSENT as error:
        raise NotConnected(f"{request.shown}: {request.mask(str(error))}; nothing was sent") from error
    except ResponseEncoded as error:
        raise ResultUnusable(f"{request.shown}: {error}") from error
    except httpx2.TransportError as error:
        raise NoAnswer(f"{request.shown}: no answer ({type(error).__name__}: {request.mask(str(error))})") from error
    try:
        body = await _read(response, limits.max_bytes)
    except ResponseTooLarge as error:
        raise ResultUnusable(f"{request.shown} answered {response.status_code}: {error}; ask for less, or raise max_bytes") from error
    except httpx2.TransportError as error:
        raise NoAnswer(
            f"{request.shown} answered {response.status_code}, and then the connection was lost ({type(error).__name__})"
        ) from error
    finally:
        await response.aclose()
    return Answer(response.status_code, response.headers, body, request)


async def _read(response: httpx2.Response, max_bytes: int) -> bytes:
    """The body; of an error no more than `ERROR_BYTES`. What is left unread closes the connection."""
    fine = 200 <= response.status_code < 300
    parts: list[bytes] = []
    total = 0
    async for part in response.aiter_raw():
        parts.append(part)
        total += len(part)
        if not fine and total > ERROR_BYTES:
            break
        if total > max_bytes:
            raise ResponseTooLarge(f"its body is larger than {max_bytes} bytes")
    body = b"".join(parts)
    return body if fine else body[:ERROR_BYTES]


def _redirected(answer: Answer) -> Outgoing:
    """The request that a redirect asks for. Raises `EgressRefused` for one that is not followed.

    What was dropped on the way to another origin stays dropped, also on a way back: that origin chose the path.
    """
    location = answer.headers.get("location", "")
    before = answer.request
    if not location:
        raise EgressRefused(f"{before.shown} answered {answer.status} without a Location; it was not followed")
    target = read_url(urljoin(str(before.target), location))
    if before.target.scheme == "https" and target.scheme != "https":
        raise EgressRefused(f"{before.shown} redirects to {target.base}, from https to http: it was not followed")
    if target.origin == before.target.origin:
        return replace(before, target=target)
    kept = tuple((name, value) for name, value in before.headers if name.lower() in ANYBODYS_HEADERS)
    return replace(before, target=target, headers=kept)
