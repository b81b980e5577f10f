"""Below the SDK's HTTP client: our guarded connections. What was surely not sent is answered here, so that the caller learns that.

The SDK reports a connection that failed as one that closed, which would put an unsafe call in doubt although nothing was sent. A JSON-RPC
error with a code of ours says it precisely.
"""

from __future__ import annotations

import httpx2
import msgspec

from waypost.http.hosts import EgressRefused
from waypost.http.transport import GuardedTransport

NOT_SENT = -32010
"""No connection. (-32000 to -32019 are for implementations.)"""
NOT_ALLOWED = -32011
"""The guard refused."""
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class McpTransport(httpx2.AsyncBaseTransport):
    """`inner`, with answers for POST requests that were not sent. Its owner closes `inner`."""

    def __init__(self, inner: GuardedTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send it, or answer what was not sent. Raises httpx2's transport errors for what was, and for other methods than POST."""
        request.headers["accept-encoding"] = "identity"
        try:
            return await self._inner.handle_async_request(request)
        except EgressRefused as error:
            if request.method != "POST":
                raise httpx2.ConnectError(str(error)) from error
            return _answer(NOT_ALLOWED, str(error))
        except _UNSENT as error:
            if request.method != "POST":
                raise
            return _answer(NOT_SENT, str(error))


def _answer(code: int, message: str) -> httpx2.Response:
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": "not-sent", "error": {"code": code, "message": message}})
    return httpx2.Response(503, headers={"content-type": "application/json"}, content=body)
