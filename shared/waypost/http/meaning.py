"""What an HTTP answer means for a call: status and headers → an error to raise, or None. Pure; it knows no effect.

The gateway's `classify` knows the tool's effect. Here only one question is decided: what does the server's answer prove?

    2xx                       the result
    429, 425                  it did nothing: try again (`Retry-After` is honoured)
    503, 5xx, 408             nothing is proved: a proxy sends 503 and 504 for requests that the server behind it is still working on.
                              Reads and idempotent calls are tried again, unsafe ones are in doubt
    501, 505, other 4xx       refused for good
    307, 308                  refused for good: the server did nothing, it names another place
    301, 302, 303, 304 …      nothing is proved (303 is how many servers answer a POST that they carried out)

Whoever knows the server better says so with `statuses={503: "not-executed", 404: "none", 409: "retry"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, get_args

from waypost.http.errors import HttpBusy, HttpFailed, HttpRefused, HttpUnavailable
from waypost_proto.errors import BadInput

Says = Literal["result", "none", "retry", "not-executed", "failed"]
"""What the author of a tool says a status means: its body is the result; the result is null; nothing is proved, so try again if that is
safe; the server did nothing, so try again; refused for good."""

NONE_STATUSES = (204, 205)
_BUSY = (425, 429)
_ELSEWHERE = (307, 308)
_FINAL_5XX = (501, 505)
_UNPROVEN_4XX = (408,)


def check_statuses(statuses: Mapping[int, Says]) -> dict[int, Says]:
    """Raises `BadInput` for a status or a word that means nothing here."""
    for status, word in statuses.items():
        if not isinstance(status, int) or not 200 <= status <= 599 or word not in get_args(Says):
            raise BadInput(f"statuses={{{status!r}: {word!r}}}: use a status from 200 to 599 and one of {', '.join(get_args(Says))}")
    return dict(statuses)


def says(status: int, statuses: Mapping[int, Says]) -> Says:
    """The meaning of a status."""
    if status in statuses:
        return statuses[status]
    if 200 <= status < 300:
        return "none" if status in NONE_STATUSES else "result"
    if status in _BUSY:
        return "not-executed"
    if status in _ELSEWHERE or status in _FINAL_5XX:
        return "failed"
    return "failed" if 400 <= status < 500 and status not in _UNPROVEN_4XX else "retry"


def error_of(word: Says, what: str, retry_after: float | None) -> Exception | None:
    """The error that an answer amounts to, None for a result. `what` is the message."""
    match word:
        case "result" | "none":
            return None
        case "not-executed":
            return HttpBusy(what, retry_after)
        case "failed":
            return HttpRefused(what)
        case "retry":
            return HttpFailed(what) if retry_after is None else HttpUnavailable(what, retry_after)


def retry_after_of(value: str | None, date: str | None, now: datetime | None = None) -> float | None:
    """Seconds from a `Retry-After` header: a number, or a date held against the answer's own `Date`. None for what cannot be read."""
    if value is None or len(value) > 64:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    until = _date(text)
    if until is None:
        return None
    since = _date(date or "") or now or datetime.now(UTC)
    return max(0.0, (until - since).total_seconds())


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
