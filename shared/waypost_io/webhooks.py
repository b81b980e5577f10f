"""Signed requests to addresses of the operator's own, by the standard library: notices, anchors of the audit log.

Waypost-Signature: t=1796144400,v1=<hex HMAC-SHA256 of "1796144400." and the body, by the shared secret>
"""

from __future__ import annotations

import hashlib
import hmac
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 1 << 20

Send = Callable[[str, bytes, dict[str, str]], int]
"""Posts a body with headers to an address and returns the status. Blocks; raises `OSError` when there was no answer."""


def signature(secret: str, body: bytes, at: float) -> str:
    """The value of `Waypost-Signature`; without a secret it carries the time alone."""
    moment = str(int(at))
    if not secret:
        return f"t={moment}"
    digest = hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is signed goes where it was addressed, and nowhere else."""

    def redirect_request(self, *_args: object) -> None:
        return None


def request(method: str, url: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
    """Status and body of the answer. Blocks; raises `OSError` when there was none. The address is the operator's own."""
    made = urllib.request.Request(url, data=body, headers=headers, method=method)  # noqa: S310  # the settings allow http(s) only
    try:
        with urllib.request.build_opener(_NoRedirects).open(made, timeout=TIMEOUT_SECONDS) as answer:
            return int(answer.status), answer.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(MAX_ANSWER_BYTES)
    except HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from error


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """`Send` by the standard library."""
    return request("POST", url, body, headers)[0]
