"""Errors as data: what an exception of a tool may say to the rest of the world. Owns the bound and the scrubbing.

A `Failure` ends up in the event log, the audit log and on screens, where nothing is ever taken back. So: type and message only, no
arguments, no traceback (that goes to the log at DEBUG), the message cut, and what looks like a credential masked. Scrubbing is a net under
the tool's author, not a promise: a secret in another shape passes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from waypost_io.redaction import MASK, redact
from waypost_proto.values import Failure

MAX_MESSAGE_CHARS = 2_000
MAX_TYPE_CHARS = 128
_MIN_SECRET_CHARS = 6
"""A shorter value of a secret-looking variable ("1", "true") would mask half of every message."""

_SECRET_NAME = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|API_?KEY|PRIVATE_?KEY", re.IGNORECASE)
_LABELLED = re.compile(
    r"(?i)\b((?:api[_-]?key|access[_-]?token|token|secret|password|passwd|authorization|signature)[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?)"
    r"[^\s\"'&,;)}\]]+"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")


class Scrubber:
    """Masks credentials in a text: by shape, and by the values of secret-looking environment variables as they were at start."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        found = {
            value
            for name, value in (os.environ if environ is None else environ).items()
            if _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET_CHARS
        }
        self._values = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, MASK)
        text = _LABELLED.sub(rf"\1{MASK}", redact(text))
        return _BEARER.sub(rf"\1 {MASK}", text)


def failure_of(error: BaseException, scrub: Scrubber) -> Failure:
    """The exception's class name and message, scrubbed and bounded. Never raises, also when `str(error)` does."""
    try:
        text = str(error)
    except Exception as broken:  # noqa: BLE001 - a tool's own __str__ may fail in any way, and the answer must go out
        text = f"(its message cannot be shown: {type(broken).__name__})"
    return Failure(type=type(error).__name__[:MAX_TYPE_CHARS], message=bounded(scrub(text)))


def bounded(text: str) -> str:
    """At most `MAX_MESSAGE_CHARS`, and only what JSON and Postgres can hold: lone surrogates are replaced, NUL is dropped."""
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    if len(text) <= MAX_MESSAGE_CHARS:
        return text
    return f"{text[: MAX_MESSAGE_CHARS - 20]}… ({len(text)} chars)"
