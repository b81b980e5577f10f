"""Heads in an object store that speaks S3: an object for each, never written over. Lock the bucket (object lock, retention) for years.

Requests are signed by AWS's Signature Version 4 (docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html); without
credentials the address is used as it is, for stores behind a proxy that signs.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote, urlsplit

from waypost_io import webhooks
from waypost_io.audit.anchoring import HeadRecord, read_record, record_line
from waypost_proto.errors import Conflict

_ALGORITHM = "AWS4-HMAC-SHA256"
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_ERROR_BYTES = 300

Request = Callable[[str, str, bytes | None, dict[str, str]], tuple[int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Of a user who may put and get objects there, and nothing else. `repr` shows no secret."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    session_token: str = field(default="", repr=False)


class ObjectAnchor:
    """`url` has `{size}` in it, and may have `{origin}`: the address of each object."""

    def __init__(self, url: str, credentials: Credentials | None, *, request: Request = webhooks.request) -> None:
        self._url = url
        self._credentials = credentials
        self._request = request

    def put(self, head: HeadRecord) -> str:
        """See `anchoring.Anchor`."""
        url = self._url.replace("{size}", f"{head.size:015d}").replace("{origin}", quote(head.origin))
        status, answer = self._send("PUT", url, record_line(head), {"Content-Type": "application/json", "If-None-Match": "*"})
        if status in (409, 412):  # it is there: ours of an earlier call, or somebody else's
            self._compare(url, head)
        elif not 200 <= status < 300:
            raise OSError(f"PUT {_bare(url)} answers {status}: {answer[:_ERROR_BYTES].decode('utf-8', 'replace')}")
        return _bare(url)

    def _compare(self, url: str, head: HeadRecord) -> None:
        status, answer = self._send("GET", url, None, {})
        there = read_record(answer) if status == 200 else None
        if there is None:
            raise OSError(f"{_bare(url)} exists and cannot be read back (status {status}); allow the user to get it")
        if (there.origin, there.size, there.root) != (head.origin, head.size, head.root):
            text = f"{_bare(url)} has another head, of {there.size} leaves of {there.origin!r}"
            raise Conflict(f"{text}: the log was forked, or two logs share the place")

    def _send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        sent = dict(headers)
        if self._credentials is not None:
            sent |= signed_headers(method, url, body or b"", self._credentials, datetime.now(UTC))
        return self._request(method, url, body, sent)


def signed_headers(
    method: str, url: str, body: bytes, credentials: Credentials, at: datetime, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The headers that sign a request. `extra`: more headers that are signed, by lower-case name."""
    parts = urlsplit(url)
    moment, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    signed = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": moment, **(extra or {})}
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(signed))
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(parse_qsl(parts.query, keep_blank_values=True)))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    canonical = "\n".join([method, parts.path or "/", query, lines, names, digest])
    scope = f"{day}/{credentials.region}/s3/aws4_request"
    to_sign = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (day, credentials.region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    del signed["host"]  # the library sends it
    authorization = f"{_ALGORITHM} Credential={credentials.access_key}/{scope},SignedHeaders={names},Signature={signature}"
    return signed | {"Authorization": authorization}


def _bare(url: str) -> str:
    """Without a query, which may be a credential."""
    return url.split("?", 1)[0]
