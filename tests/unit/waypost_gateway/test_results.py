"""Which results can be carried."""

from __future__ import annotations

import json

import pytest

from waypost_gateway import results
from waypost_proto.limits import MAX_NESTING, MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_nesting_is_counted_exactly(pair: str) -> None:
    def nested(depth: int) -> bytes:
        key = '"k":' if pair == "{}" else ""
        return ((pair[0] + key) * (depth - 1) + pair + pair[1] * (depth - 1)).encode()

    assert json.loads(nested(MAX_NESTING)) is not None
    assert not results.nested_too_deep(nested(MAX_NESTING))
    assert results.nested_too_deep(nested(MAX_NESTING + 1))


def test_mixed_nesting_counts_every_level() -> None:
    assert results.nested_too_deep(b'[{"a":' * 33 + b"1" + b"}]" * 33)
    assert not results.nested_too_deep(b'[{"a":' * 32 + b"1" + b"}]" * 32)


def test_wide_is_not_deep_and_brackets_in_strings_do_not_count() -> None:
    wide = json.dumps([{"id": n, "text": '[[[["{{{\\"' * 5} for n in range(500)]).encode()
    assert not results.nested_too_deep(wide)


def test_a_result_past_the_limit_names_size_and_limit() -> None:
    failure = results.unfit(b'"' + b"x" * MAX_PAYLOAD_BYTES + b'"')
    assert failure is not None
    assert failure.type == "ResultTooLarge"
    assert str(MAX_PAYLOAD_BYTES) in failure.message
    assert results.unfit(b'"ok"') is None
