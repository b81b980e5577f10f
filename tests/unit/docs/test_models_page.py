"""docs/models.md: its code runs, and its tables say what the code does."""

from __future__ import annotations

import re

from tests.unit.docs.pages import run_blocks, text_of
from waypost.models import default_prices, read_prices
from waypost.models.options import ModelOptions

PAGE = "models.md"


def test_its_code_runs() -> None:
    page = run_blocks(PAGE)
    assert page.analyst.policy.budget.max_cost_usd == 2
    assert page.careful.options.max_output_tokens == 16_000


def test_every_option_is_there() -> None:
    text = text_of(PAGE)
    rows = re.findall(r"^\| (`[^|]+) \| ", text[text.index("## Options") : text.index("When a provider says")], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == set(ModelOptions.__dataclass_fields__)


def test_the_price_file_of_the_page_is_one() -> None:
    text = text_of(PAGE)
    example = text[text.index("    date =") : text.index("The section is the model's")]
    prices = read_prices("\n".join(line[4:] for line in example.splitlines()), "the page")
    shown = prices.of("openai", "gpt-5.4-mini")
    assert shown is not None
    assert shown == default_prices().of("openai", "gpt-5.4-mini")
    assert prices.of("my-provider", "house-model") is not None
