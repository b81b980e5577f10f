"""What a trace shows of contents: secrets are hidden, texts are cut, the operator's own function is asked last."""

from __future__ import annotations

import json
import sys
from types import ModuleType

import pytest

from waypost_io.known_secrets import KNOWN
from waypost_io.settings import TraceContentSettings
from waypost_io.trace_content import capture_of, redaction
from waypost_proto.errors import Misconfigured

HIDE = TraceContentSettings().hide_keys


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("password", "hunter2"),
        ("db_password_2", 'with "quotes" and \\'),
        ("apiKey", 12345),
        ("API_KEY", True),
        ("x-api-key", "k"),
        ("tokens", ["a", "b"]),
        ("Authorization", None),
    ],
)
def test_values_under_telling_keys_are_hidden(key: str, value: object) -> None:
    text = json.dumps({"amount": 5, key: value, "name": "ann"})
    assert json.loads(redaction(HIDE)("x", text)) == {"amount": 5, key: "***", "name": "ann"}


def test_a_text_that_is_cut_in_the_middle_of_a_secret_shows_none_of_it() -> None:
    assert redaction(HIDE)("x", '{"password": "hunt') == '{"password": "***"'


def test_counts_of_tokens_are_no_secrets() -> None:
    text = '{"input_tokens": 200, "usage": {"output_tokens":4}, "api_tokens": ["a"], "user_tokens": "t-1", "token": 7}'
    shown = json.loads(redaction(HIDE)("x", text))
    assert shown == {"input_tokens": 200, "usage": {"output_tokens": 4}, "api_tokens": "***", "user_tokens": "***", "token": "***"}


def test_what_is_no_secret_stays() -> None:
    text = '{"amount": 5, "note": "the password is secret", "list": [1, 2]}'
    assert redaction(HIDE)("x", text) == text
    assert redaction("")("x", '{"password": "a"}') == '{"password": "a"}'


def test_known_secrets_and_credentials_in_urls_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    KNOWN.replace(["s3cr3t-value"])
    try:
        assert redaction(HIDE)("x", '{"note": "s3cr3t-value at https://ann:pw@host/"}') == '{"note": "*** at https://***@host/"}'
    finally:
        KNOWN.replace([])


def test_the_own_function_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("own_redaction")
    module.hide = lambda name, text: f"{name}:{text.replace('ann', 'X')}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_redaction", module)
    capture = capture_of({"WAYPOST_TRACES_CONTENT": "all", "WAYPOST_TRACES_REDACT": "own_redaction:hide"})
    assert capture.content
    assert capture.intent
    assert capture.text("a", "ann") == "a:X"


@pytest.mark.parametrize("path", ["nowhere", "nowhere_at_all:hide", "json:nothing", "json:__name__"])
def test_a_function_that_cannot_be_used_is_told(path: str) -> None:
    with pytest.raises(Misconfigured, match="WAYPOST_TRACES_REDACT"):
        capture_of({"WAYPOST_TRACES_REDACT": path})


def test_nothing_is_shown_unless_asked_for() -> None:
    capture = capture_of({})
    assert not capture.content
    assert not capture.intent
    assert capture_of({"WAYPOST_TRACES_CONTENT": "intent"}).intent
    assert not capture_of({"WAYPOST_TRACES_CONTENT": "intent"}).content


def test_texts_are_cut_by_bytes_after_redaction() -> None:
    capture = capture_of({"WAYPOST_TRACES_CONTENT": "all", "WAYPOST_TRACES_CONTENT_BYTES": "16"})
    assert capture.text("x", "é" * 20) == "é" * 8 + "… (40 bytes)"
    assert capture.text("x", "short") == "short"
