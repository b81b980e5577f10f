"""What a model call costs: a price table by provider and model, packaged and dated, that users override.

A price is in US dollars per million tokens, so that tokens times price are micro-dollars. A model that is not in the table has no price:
its cost is unknown, which is not the same as nothing.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

from waypost.metering import Dollars
from waypost.models.messages import TokenCounts
from waypost_proto.errors import Misconfigured

PRICES_VARIABLE = "WAYPOST_PRICES_FILE"
_VERSION = re.compile(r"(?:-\d{4}-\d{2}-\d{2}|-\d{8}|-latest|@[\w.-]+)$")
"""What providers add to a name for one version of a model; all versions cost the same."""
_FIELDS = {"input", "output", "cached", "cache_write"}


def _amount(name: str, value: Dollars | None) -> Decimal:
    if value is None:
        return Decimal(0)
    try:
        amount = Decimal(str(value))
    except ArithmeticError as error:
        raise ValueError(f"{name} is {value!r}: give US dollars per million tokens") from error
    if isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise ValueError(f"{name} is {value!r}: give US dollars per million tokens")
    return amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens. Raises `ValueError` for what is no amount of money.

    `cached` (read from the provider's cache) costs as `input` where it is None, and so does `cache_write`. `long` holds instead for
    a request whose input is above `long_from` tokens.
    """

    input: Dollars
    output: Dollars
    cached: Dollars | None = None
    cache_write: Dollars | None = None
    long_from: int = 0
    long: Price | None = None

    def __post_init__(self) -> None:
        for name in ("input", "output", "cached", "cache_write"):
            _amount(name, getattr(self, name))

    def micros(self, usage: TokenCounts) -> int:
        """The cost of one call in micro-dollars, rounded up."""
        if self.long is not None and usage.input_tokens > self.long_from:
            return self.long.micros(usage)
        price = _amount("input", self.input)
        cached = price if self.cached is None else _amount("cached", self.cached)
        written = price if self.cache_write is None else _amount("cache_write", self.cache_write)
        plain = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        total = price * plain + cached * usage.cached_tokens + written * usage.cache_write_tokens
        total += _amount("output", self.output) * usage.output_tokens
        return int(total.to_integral_value(ROUND_CEILING))

    def most_micros(self, usage: TokenCounts) -> int:
        """The most that these counts can cost, whatever turns out to be read from a cache or written to it."""
        return max(self.micros(usage), self.micros(replace_cache(usage)))


FREE = Price(input=0, output=0)
"""Of a model that runs on a machine of one's own."""


def replace_cache(usage: TokenCounts) -> TokenCounts:
    """The same counts, all of the input written to the cache."""
    return TokenCounts(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cache_write_tokens=usage.input_tokens)


@dataclass(frozen=True, slots=True)
class Prices:
    """A price table: `{"openai": {"gpt-5-mini": Price(…)}}`, and the day on which it was right."""

    table: Mapping[str, Mapping[str, Price]] = field(default_factory=dict)
    date: dt.date | None = None

    def of(self, provider: str, model: str) -> Price | None:
        """The price of a model, also under a name with a version (`gpt-5-mini-2025-08-07`); None: nobody has said."""
        models = self.table.get(provider, {})
        return models.get(model) or models.get(_VERSION.sub("", model))

    def over(self, other: Prices) -> Self:
        """Both tables; this one's prices where both have one."""
        providers = {*self.table, *other.table}
        table = {name: {**other.table.get(name, {}), **self.table.get(name, {})} for name in providers}
        return replace(self, table=table, date=self.date or other.date)


def read_prices(text: str, source: str) -> Prices:
    """A table in TOML. Raises `Misconfigured` that names `source`, the model and what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{source}: no valid TOML: {error}") from error
    date = document.pop("date", None)
    table: dict[str, dict[str, Price]] = {}
    for provider, models in document.items():
        if not isinstance(models, dict):
            raise Misconfigured(f"{source}: {provider} = {models!r}: expected a table [{provider}] of models")
        table[provider] = {model: _price(f"{source}: [{provider}] {model!r}", entry) for model, entry in models.items()}
    return Prices(table, date if isinstance(date, dt.date) else None)


def default_prices() -> Prices:
    """The packaged table, and over it the file that `WAYPOST_PRICES_FILE` names. Read once. Raises `Misconfigured`."""
    return _prices(os.environ.get(PRICES_VARIABLE, ""))


@cache
def _prices(path: str) -> Prices:
    packaged = read_prices(resources.files(__package__).joinpath("prices.toml").read_text("utf-8"), "the packaged prices")
    if not path:
        return packaged
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{PRICES_VARIABLE}={path!r} cannot be read: {error}") from error
    return read_prices(text, path).over(packaged)


def _price(what: str, entry: Any) -> Price:
    if not isinstance(entry, dict):
        raise Misconfigured(f"{what} = {entry!r}: expected {{ input = …, output = … }} in US dollars per million tokens")
    rest = dict(entry)
    long = rest.pop("long", None)
    unknown = rest.keys() - _FIELDS
    missing = {"input", "output"} - rest.keys()
    if unknown or missing:
        names = ", ".join(sorted(unknown or missing))
        raise Misconfigured(f"{what}: {'unknown' if unknown else 'missing'}: {names}; a price has input, output, cached, cache_write, long")
    try:
        price = Price(**rest)
    except ValueError as error:
        raise Misconfigured(f"{what}: {error}") from error
    if long is None:
        return price
    above = long.pop("from", None) if isinstance(long, dict) else None
    if not isinstance(above, int) or above < 1:
        raise Misconfigured(f"{what}: long = {long!r}: it needs from = the number of input tokens above which it holds")
    return replace(price, long_from=above, long=_price(f"{what}, long", long))


__all__ = ["FREE", "PRICES_VARIABLE", "Price", "Prices", "default_prices", "read_prices", "replace_cache"]
