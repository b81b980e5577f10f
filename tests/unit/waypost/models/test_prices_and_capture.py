"""What calls cost by the table, whose prices can be overridden; and what is kept of their texts: nothing, unless it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.waypost.models.world import DOLLAR, asked, call_of, options, step
from waypost.models import Price, TokenCounts, default_prices, read_prices
from waypost.models.capture import Capture, capture_of, current_capture, set_capture
from waypost.models.scripted import ScriptedModel
from waypost_proto.errors import Misconfigured
from waypost_proto.models import MAX_CAPTURED_BYTES


def test_the_packaged_table_is_whole_and_dated() -> None:
    prices = default_prices()
    assert prices.date is not None
    for models in prices.table.values():
        for name, price in models.items():
            assert 0 < float(price.input) <= float(price.output), name
            assert price.cached is None or float(price.cached) < float(price.input), name
    assert prices.of("openai", "gpt-5-mini-2025-08-07") == prices.of("openai", "gpt-5-mini")
    assert prices.of("anthropic", "claude-haiku-4-5-20251001") == prices.of("anthropic", "claude-haiku-4-5")
    assert prices.of("openai", "gpt-5-mini") != prices.of("openai", "gpt-5")
    assert prices.of("openai", "gpt-nobody-knows") is None


def test_a_cost_is_exact_and_rounded_up() -> None:
    price = Price(input="0.10", cached="0.01", cache_write="0.125", output="0.50")
    usage = TokenCounts(input_tokens=1_000, cached_tokens=600, cache_write_tokens=200, output_tokens=3)
    assert price.micros(usage) == 53  # 20 + 6 + 25 + 1.5
    assert price.most_micros(TokenCounts(input_tokens=1_000, output_tokens=10)) == 130
    long = Price(input=1, output=1, long_from=100, long=Price(input=2, output=2))
    assert (long.micros(TokenCounts(input_tokens=100)), long.micros(TokenCounts(input_tokens=101))) == (100, 202)
    for wrong in (-1, "much", float("nan")):
        with pytest.raises(ValueError, match="US dollars"):
            Price(input=wrong, output=1)


def test_a_file_overrides_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[openai]\n"gpt-5-mini" = { input = 9, output = 10 }\n[mine]\n"house" = { input = 1, output = 2 }\n')
    monkeypatch.setenv("WAYPOST_PRICES_FILE", str(file))
    prices = default_prices()
    assert prices.of("openai", "gpt-5-mini") == Price(input=9, output=10)
    assert prices.of("mine", "house") is not None
    assert prices.of("openai", "gpt-5") is not None
    monkeypatch.setenv("WAYPOST_PRICES_FILE", str(tmp_path / "nothing"))
    with pytest.raises(Misconfigured, match="cannot be read"):
        default_prices()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[openai", "no valid TOML"),
        ("openai = 3", "expected a table"),
        ("[p]\nm = { input = 1 }", "missing: output"),
        ("[p]\nm = { input = 1, output = 2, batch = 3 }", "unknown: batch"),
        ("[p]\nm = { input = -1, output = 2 }", "US dollars"),
        ("[p]\nm = { input = 1, output = 2, long = { input = 1, output = 2 } }", "needs from"),
    ],
)
def test_a_wrong_table_says_where(text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        read_prices(text, "prices.toml")


# -- texts


@pytest.fixture
def capturing() -> Iterator[None]:
    yield
    set_capture(None)


async def test_nothing_is_captured_unless_it_is_switched_on(capturing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYPOST_CAPTURE", raising=False)
    model = ScriptedModel(["the answer"], options=options(price=DOLLAR))
    effect = step(model, asked("my secret"))
    await effect.run()
    assert (call_of(effect).captured_input, call_of(effect).captured_output) == ("", "")
    set_capture(Capture(what="all", redact=lambda text: text.replace("secret", "***")))
    effect = step(model, asked("my secret", instructions="a secret too"))
    await effect.run()
    assert "my ***" in call_of(effect).captured_input
    assert "secret" not in call_of(effect).captured_input
    assert "the answer" in call_of(effect).captured_output


def test_what_a_hook_cannot_judge_is_left_out(capturing: None) -> None:
    def broken(text: str) -> str:
        raise RuntimeError(text)

    set_capture(Capture(what="prompts", redact=broken))
    kept = capture_of(asked("my secret"), None)["captured_input"]
    assert "secret" not in kept
    assert "left out" in kept


def test_long_texts_are_cut_to_their_end(capturing: None) -> None:
    set_capture(Capture(what="prompts"))
    kept = capture_of(asked("x" * 1_000_000 + " the end"), None)["captured_input"]
    assert len(kept.encode()) <= MAX_CAPTURED_BYTES
    assert "the end" in kept


def test_the_environment_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_CAPTURE", "answers")
    monkeypatch.setenv("WAYPOST_CAPTURE_REDACT", "string:capwords")
    assert current_capture().clean("abc def") == "Abc Def"
    assert (current_capture().prompts, current_capture().answers) == (False, True)
    monkeypatch.setenv("WAYPOST_CAPTURE_REDACT", "nowhere:at_all")
    with pytest.raises(Misconfigured, match=r"package\.module:function"):
        current_capture()
    monkeypatch.setenv("WAYPOST_CAPTURE", "some")
    with pytest.raises(Misconfigured, match="off, prompts, answers, all"):
        current_capture()
