"""Heads by HTTP, signed, to somebody who keeps them: a notary, an auditor, another company."""

from __future__ import annotations

import time

from waypost_io.audit.anchoring import HeadRecord, record_line
from waypost_io.webhooks import Send, post, signature
from waypost_proto.errors import Conflict


class WebhookAnchor:
    """Posts each head to one address until it answers 2xx. 409 means that the other side has a head that this one contradicts."""

    def __init__(self, url: str, secret: str, *, send: Send = post) -> None:
        self._url = url
        self._secret = secret
        self._send = send

    def put(self, head: HeadRecord) -> str:
        """See `anchoring.Anchor`."""
        body = record_line(head)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "waypost",
            "Waypost-Head": f"{head.origin} {head.size}",
            "Waypost-Signature": signature(self._secret, body, time.time()),
        }
        status = self._send(self._url, body, headers)
        address = self._url.split("?", 1)[0]
        if status == 409:
            raise Conflict(f"{address} answers 409: it has a head that contradicts the one of {head.size} leaves")
        if not 200 <= status < 300:
            raise OSError(f"{address} answers {status}")
        return address
