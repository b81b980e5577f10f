"""What a model call of a graph may use and has used, by the price table of `waypost.models` (`WAYPOST_PRICES_FILE` overrides it)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from langchain_core.messages import BaseMessage

from waypost.metering import Usage
from waypost.models.estimating import TOKENS_EACH, tokens_of
from waypost.models.messages import TokenCounts
from waypost.models.prices import Price, default_prices
from waypost.models.protocol import ModelUnpriced
from waypost_proto.models import ModelCall

MOST_OUTPUT_TOKENS = 4_096
"""What an answer may take where the model does not say (`max_tokens`)."""
_MICROS = Decimal(1_000_000)


def price_of(provider: str, model: str) -> Price | None:
    """The price of a model; None: nobody has said."""
    return default_prices().of(provider, model)


def cost_of(call: ModelCall) -> Decimal:
    """What a call has cost, US dollars. Nothing is charged for a model that the table does not know."""
    price = price_of(call.provider, call.model) or (price_of(call.provider, call.answered_by) if call.answered_by else None)
    counts = TokenCounts(input_tokens=call.input_tokens, output_tokens=call.output_tokens, cached_tokens=call.cached_tokens)
    return Decimal(0) if price is None else Decimal(price.micros(counts)) / _MICROS


def most_of(provider: str, model: str, messages: Sequence[BaseMessage], output_tokens: int | None) -> Usage:
    """What a call may use at most, for reserving it: the input counted high, and the longest answer."""
    text = sum(tokens_of(str(message.content)) + TOKENS_EACH for message in messages)
    counts = TokenCounts(input_tokens=text, output_tokens=output_tokens or MOST_OUTPUT_TOKENS)
    price = price_of(provider, model)
    cost = Decimal(0) if price is None else Decimal(price.most_micros(counts)) / _MICROS
    return Usage(tokens=counts.input_tokens + counts.output_tokens, cost_usd=cost)


def check_priced(provider: str, model: str) -> None:
    """For a run whose cost is limited. Raises `ModelUnpriced`."""
    if price_of(provider, model) is None:
        raise ModelUnpriced(
            f"the run's cost is limited (max_cost_usd) and nobody knows what {provider}/{model} costs: add it to a file that "
            "WAYPOST_PRICES_FILE names"
        )


__all__ = ["MOST_OUTPUT_TOKENS", "check_priced", "cost_of", "most_of", "price_of"]
