"""Times and failures as the demo says them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import UNSET, DecodeError, Raw, UnsetType, json

from waypost_proto.values import Failure

MAX_ERROR_CHARS = 90
MAX_ABOUT_CHARS = 30


def about(args: Raw | UnsetType) -> str:
    """The one text among a call's arguments; "" for a call about anything else."""
    try:
        values = json.decode(args, type=dict[str, str]) if args is not UNSET else {}
    except DecodeError:
        return ""
    text = next(iter(values.values()), "") if len(values) == 1 else ""
    return text if len(text) <= MAX_ABOUT_CHARS else f"{text[: MAX_ABOUT_CHARS - 1]}…"


def due(deadline_at: float | None, now: float) -> str:
    """How long a deadline is away: `23 h`, `30 d`."""
    if deadline_at is None:
        return ""
    left = deadline_at - now
    if left <= 0:
        return "over"
    return f"{left / 86_400:.0f} d" if left > 2 * 86_400 else f"{left / 3_600:.0f} h"


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
