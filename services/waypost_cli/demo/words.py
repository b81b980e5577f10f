"""Times and failures as the demo says them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from waypost_proto.values import Failure

MAX_ERROR_CHARS = 90


def clock(unix_seconds: float) -> str:
    """`12:00:04.2`, in UTC as everywhere in Waypost."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%H:%M:%S.%f")[:10]


def failure(error: Failure) -> str:
    """Type and message on one line, cut to what fits."""
    text = " ".join(f"{error.type}: {error.message}".split()) if error.message else error.type
    return text if len(text) <= MAX_ERROR_CHARS else f"{text[: MAX_ERROR_CHARS - 1]}…"


def seconds(amount: float) -> str:
    """`3.4 s`."""
    return f"{max(amount, 0.0):.1f} s"
