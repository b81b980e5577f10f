"""What an exception may say to the rest of the world: bounded, printable, without credentials."""

from __future__ import annotations

import json

import pytest

from waypost_gateway.failures import MAX_MESSAGE_CHARS, Scrubber, failure_of
from waypost_proto.codec import encode

SECRET = "s3cr3t-value-42"
SCRUB = Scrubber({"BANK_API_KEY": SECRET, "DEBUG_TOKEN": "1", "HOME": "/root"})


@pytest.mark.parametrize(
    "text",
    [
        f"401 for url https://user:{SECRET}@bank.example/x",
        f"GET https://bank.example/x?token={SECRET}&page=2 failed",
        f"header Authorization: Bearer {SECRET}",
        f"sent {{'api_key': '{SECRET}'}}",
        f'password="{SECRET}"',
        f"the value {SECRET} of a variable",
    ],
)
def test_credentials_are_masked(text: str) -> None:
    failure = failure_of(RuntimeError(text), SCRUB)
    assert SECRET not in failure.message
    assert "***" in failure.message


def test_shapes_are_masked_without_knowing_the_value() -> None:
    failure = failure_of(RuntimeError("refused: Authorization: Bearer abcdefghijklmnop, token=qwertyuiop"), Scrubber({}))
    assert "abcdefghijklmnop" not in failure.message
    assert "qwertyuiop" not in failure.message


def test_short_values_and_harmless_text_stay() -> None:
    text = "account 1 not found at https://bank.example/accounts/1 (token bucket empty)"
    assert failure_of(LookupError(text), SCRUB).message == text
    assert failure_of(LookupError(text), SCRUB).type == "LookupError"


def test_messages_are_bounded() -> None:
    failure = failure_of(ValueError("x" * 100_000), SCRUB)
    assert len(failure.message) <= MAX_MESSAGE_CHARS
    assert "100000 chars" in failure.message


def test_what_json_or_postgres_cannot_hold_is_replaced() -> None:
    failure = failure_of(ValueError("a\ud800b\x00c"), SCRUB)
    assert json.loads(encode(failure))["message"] == "a?bc"


def test_an_error_that_cannot_be_shown_is_still_an_answer() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    failure = failure_of(Mute(), SCRUB)
    assert failure.type == "Mute"
    assert "RuntimeError" in failure.message
