"""Errors as data: what an exception of a tool may say to the rest of the world. Owns the bound and the scrubbing.

A `Failure` ends up in the event log, the audit log and on screens, where nothing is ever taken back. So: type and message only, no
arguments, no traceback (that goes to the log at DEBUG), the message cut, and what looks like a credential masked. Scrubbing is a net under
the tool's author, not a promise: a secret in another shape passes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from waypost_io.known_secrets import KNOWN
from waypost_io.redaction import MASK, redact
from waypost_proto.values import Failure

MAX_MESSAGE_CHARS = 2_000
MAX_TYPE_CHARS = 128
MAX_SCRUBBED_CHARS = 16_000
MAX_LEAVES = 5
MAX_LEAF_CHARS = 300
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
        text = KNOWN.hide(text)
        for value in self._values:
            text = text.replace(value, MASK)
        text = _LABELLED.sub(rf"\1{MASK}", redact(text))
        return _BEARER.sub(rf"\1 {MASK}", text)


def failure_of(error: BaseException, scrub: Scrubber) -> Failure:
    """The exception's class name and message, scrubbed and bounded. Never raises, also when `str(error)` does.

    Of a group it names what is in it: its own message says only how many.
    """
    text = _text_of(error)
    if isinstance(error, BaseExceptionGroup):
        text = f"{text}: {'; '.join(_leaves(error))}"
    # a message may be huge, and scrubbing reads all of it: what is cut off here is never shown
    return Failure(type=bounded(scrub(type(error).__name__[:MAX_TYPE_CHARS])), message=bounded(scrub(text[:MAX_SCRUBBED_CHARS]), len(text)))


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException as broken:  # noqa: BLE001 - a tool's own __str__ may fail in any way, and the answer must go out
        return f"(its message cannot be shown: {type(broken).__name__})"


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """The first few errors in a group, each with its class."""
    found: list[str] = []
    waiting: list[BaseException] = list(group.exceptions)
    while waiting and len(found) < MAX_LEAVES:
        error = waiting.pop(0)
        if isinstance(error, BaseExceptionGroup):
            waiting[:0] = error.exceptions
        else:
            found.append(f"{type(error).__name__[:MAX_TYPE_CHARS]}: {_text_of(error)[:MAX_LEAF_CHARS]}")
    return found


def bounded(text: str, chars: int = 0) -> str:
    """At most `MAX_MESSAGE_CHARS`, and only what JSON and Postgres can hold: lone surrogates are replaced, NUL is dropped.

    `chars`: how long the whole text is, where `text` is only its beginning.
    """
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    if len(text) <= MAX_MESSAGE_CHARS:
        return text
    return f"{text[: MAX_MESSAGE_CHARS - 20]}… ({max(chars, len(text))} chars)"
