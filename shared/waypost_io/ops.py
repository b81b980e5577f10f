"""`/livez`, `/readyz` and `/metrics` of a process, on `WAYPOST_OPS_ADDR`: a small HTTP/1.1 server of our own.

`/livez` never looks at a dependency: a process that is restarted because its database is down helps nobody. `/readyz` asks every
check, each within a time limit. Nothing here is for the outside world: no TLS, no keep-alive, GET and HEAD only.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

import msgspec
import structlog

from waypost_io import exposition
from waypost_io.metrics import Metrics
from waypost_io.redaction import redact
from waypost_io.settings import parse_address
from waypost_proto.errors import Misconfigured

CHECK_SECONDS = 2.0
REQUEST_SECONDS = 5.0
REQUEST_BYTES = 8 * 1024
MAX_CONNECTIONS = 64

Check = Callable[[], bool | str | Awaitable[bool | str | None] | None]
"""Ready unless it returns False or raises; a text is shown beside the ok."""

_OK = "ok"
_JSON = "application/json"
_TEXT = exposition.TEXT
_log = structlog.get_logger()


class OpsServer:
    """Serves the three paths while its context is open. With the address "" it does nothing.

    `checks` may change while it serves. Raises `Misconfigured` on entering when it cannot listen there.
    """

    def __init__(self, address: str, *, checks: Mapping[str, Check] | None = None, metrics: Metrics | None = None) -> None:
        self._address = address
        self._checks = checks if checks is not None else {}
        self._metrics = metrics or Metrics()
        self._server: asyncio.Server | None = None
        self._open = 0

    @property
    def port(self) -> int:
        """The port it listens on, 0 when it does not."""
        return int(self._server.sockets[0].getsockname()[1]) if self._server is not None and self._server.sockets else 0

    async def __aenter__(self) -> Self:
        if self._address:
            host, port = parse_address(self._address)
            try:
                self._server = await asyncio.start_server(self._serve, host, port, limit=REQUEST_BYTES)
            except OSError as error:
                raise Misconfigured(f"WAYPOST_OPS_ADDR={self._address!r}: cannot listen there ({error}); choose another address") from error
            _log.debug("ops server listens", host=host, port=self.port)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def readiness(self) -> tuple[bool, dict[str, str]]:
        """Ask every check at once: (all ready, what each says)."""
        checks = dict(self._checks)
        answers = await asyncio.gather(*(_ask(check) for check in checks.values()))
        found = dict(zip(checks, answers, strict=True))
        return all(answer == _OK or answer.startswith(f"{_OK}: ") for answer in answers), found

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                if self._open > MAX_CONNECTIONS:
                    writer.write(_response(503, _TEXT, b"too many connections\n"))
                else:
                    writer.write(await self._answer(reader))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client went away or never asked
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _response(431, _TEXT, b"request head too large\n")
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response(405, _TEXT, b"GET and HEAD only\n")
        status, kind, body = await self._page(path, _accept(head))
        return _response(status, kind, body, send_body=method == b"GET")

    async def _page(self, path: bytes, accept: str) -> tuple[int, str, bytes]:
        if path == b"/livez":
            return 200, _JSON, b'{"live":true}\n'
        if path == b"/readyz":
            ready, checks = await self.readiness()
            return (200 if ready else 503), _JSON, msgspec.json.encode({"ready": ready, "checks": checks}) + b"\n"
        if path == b"/metrics":
            if exposition.chosen(accept) == "openmetrics":
                return 200, exposition.OPENMETRICS, self._metrics.render_openmetrics()
            return 200, _TEXT, self._metrics.render()
        return 404, _TEXT, b"there are /livez, /readyz and /metrics\n"


def _accept(head: bytes) -> str:
    """The `Accept` header of a request, "" without one."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"accept":
            return value.decode("latin-1").strip()
    return ""


async def _ask(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            answer = check()
            if inspect.isawaitable(answer):
                answer = await answer
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
        return redact(f"{type(error).__name__}: {error}")
    if isinstance(answer, str):
        return f"{_OK}: {answer}"
    return _OK if answer is not False else "not ready"


_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


def _response(status: int, kind: str, body: bytes, *, send_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if send_body else b"")
