"""What answers prove."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from waypost.errors import DoNotRetry, NotExecuted, RetryLater
from waypost.http.meaning import check_statuses, error_of, retry_after_of, says
from waypost_proto.errors import BadInput, WaypostError


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "result"),
        (201, "result"),
        (202, "result"),
        (204, "none"),
        (205, "none"),
        (301, "retry"),
        (303, "retry"),
        (304, "retry"),
        (307, "failed"),
        (308, "failed"),
        (400, "failed"),
        (401, "failed"),
        (404, "failed"),
        (408, "retry"),
        (409, "failed"),
        (422, "failed"),
        (425, "not-executed"),
        (429, "not-executed"),
        (500, "retry"),
        (501, "failed"),
        (502, "retry"),
        (503, "retry"),
        (504, "retry"),
        (599, "retry"),
    ],
)
def test_statuses(status: int, expected: str) -> None:
    assert says(status, {}) == expected


def test_the_author_knows_better() -> None:
    known = check_statuses({503: "not-executed", 404: "none", 409: "retry", 202: "failed"})
    assert [says(status, known) for status in (503, 404, 409, 202, 200)] == ["not-executed", "none", "retry", "failed", "result"]
    for wrong in ({99: "none"}, {404: "nothing"}, {"404": "none"}):
        with pytest.raises(BadInput, match="statuses="):
            check_statuses(wrong)  # type: ignore[arg-type]


def test_errors_say_what_the_gateway_needs_to_know() -> None:
    assert error_of("result", "x", None) is None
    assert error_of("none", "x", None) is None
    busy = error_of("not-executed", "x", 3.0)
    assert isinstance(busy, NotExecuted)
    assert not isinstance(busy, DoNotRetry)
    assert busy.retry_after == 3.0
    assert isinstance(error_of("failed", "x", None), DoNotRetry)
    later = error_of("retry", "x", 2.0)
    assert isinstance(later, RetryLater)
    assert later.retry_after == 2.0
    failed = error_of("retry", "x", None)
    assert isinstance(failed, WaypostError)
    assert not isinstance(failed, NotExecuted | RetryLater)


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "date", "seconds"),
    [
        ("120", None, 120.0),
        (" 0 ", None, 0.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", None, 60.0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", "Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", None, 0.0),
        ("-5", None, None),
        ("soon", None, None),
        ("1e9999", None, None),
        ("٣", None, None),
        ("9" * 100, None, None),
        (None, None, None),
    ],
)
def test_retry_after(value: str | None, date: str | None, seconds: float | None) -> None:
    assert retry_after_of(value, date, NOW) == seconds
