"""How people read times, amounts, sizes and JSON. Pure; every function takes what a template has, and never raises for what is stored."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import msgspec
from msgspec import Raw, UnsetType

from waypost_proto.usage import usd_of

MAX_JSON_CHARS = 200_000
"""Of one value on a page; what is longer is cut, and can be had whole from the API."""
_STATUS_WORDS = {"waiting_approval": "needs approval"}
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def status_word(status: str) -> str:
    """A status in words."""
    return _STATUS_WORDS.get(status, status.replace("_", " "))


def unix(text: str | None) -> float | None:
    """An RFC 3339 time as Unix seconds; None for what is none."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def clock(seconds: float | None) -> str:
    """A moment, UTC, to the second."""
    if seconds is None:
        return ""
    return _moment(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(seconds: float) -> str:
    """For `<time datetime>`."""
    return _moment(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def _moment(seconds: float) -> datetime:
    if not math.isfinite(seconds):
        seconds = 0.0
    return datetime.fromtimestamp(min(max(seconds, 0.0), 253_402_300_799.0), UTC)


def span(seconds: float | None) -> str:
    """A length of time, in the two largest units that say something."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    seconds = max(seconds, 0.0)
    if seconds < 0.001:
        return "0 ms" if seconds == 0 else "<1 ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{int(seconds // _MINUTE)} min {int(seconds % _MINUTE)} s"
    if seconds < _DAY:
        return f"{int(seconds // _HOUR)} h {int(seconds % _HOUR // _MINUTE)} min"
    return f"{int(seconds // _DAY)} d {int(seconds % _DAY // _HOUR)} h"


def ago(seconds: float | None, now: float) -> str:
    """How long ago, or in how long."""
    if seconds is None:
        return ""
    apart = now - seconds
    if abs(apart) < 1:
        return "just now"
    length = span(abs(apart)).split(" ")
    short = " ".join(length[:2])
    return f"{short} ago" if apart > 0 else f"in {short}"


def money(micros: int | None) -> str:
    """Micro-dollars as dollars, with as many digits as say something."""
    if micros is None:
        return "–"
    if micros == 0:
        return "$0"
    dollars = usd_of(micros)
    if dollars < 0.01:
        return f"${dollars:.5f}".rstrip("0")
    if dollars >= 1:
        return f"${dollars:,.2f}"
    whole, _, cents = f"{dollars:.4f}".partition(".")
    return f"${whole}.{cents.rstrip('0'):0<2}"


def count(number: float | None) -> str:
    """A number with thousands apart."""
    return "–" if number is None else f"{number:,.0f}".replace(",", " ")


def size(number: int) -> str:
    """A number of bytes."""
    if number < 1024:
        return f"{number} B"
    return f"{number / 1024:.1f} KiB" if number < 1024 * 1024 else f"{number / 1024 / 1024:.1f} MiB"


def json_text(value: Raw | UnsetType | bytes | None) -> str:
    """JSON, indented; what is no JSON as it is. Cut at `MAX_JSON_CHARS`."""
    if value is None or isinstance(value, UnsetType):
        return ""
    body = bytes(value)
    if len(body) > MAX_JSON_CHARS:
        return f"{body[:MAX_JSON_CHARS].decode('utf-8', 'replace')}\n… {size(len(body))} in all"
    try:
        text = msgspec.json.format(body, indent=2).decode("utf-8", "replace")
    except msgspec.DecodeError:
        text = body.decode("utf-8", "replace")
    return text


def one_line(value: Raw | UnsetType | bytes | None, most: int = 120) -> str:
    """JSON in one short line."""
    if value is None or isinstance(value, UnsetType):
        return ""
    text = bytes(value)[: most * 4].decode("utf-8", "replace")
    return text if len(text) <= most else f"{text[:most]}…"


def short_id(text: str) -> str:
    """The end of an id, which tells runs of one second apart."""
    return text[-12:] if len(text) > 12 else text
