"""What is recorded of one call: adds up what its requests used, and writes the `ModelCall`, the usage and the fingerprint for the log."""

from __future__ import annotations

import hashlib
from decimal import Decimal

from msgspec.structs import replace

from waypost.execution.effects import text_of
from waypost.metering import CURRENT
from waypost.models.capture import capture_of
from waypost.models.messages import ModelRequest, ModelResponse, TokenCounts
from waypost.models.options import options_of
from waypost.models.prices import Price, Prices
from waypost.models.protocol import Model, ModelBusy
from waypost_core.loops import fingerprint
from waypost_proto.codec import encode
from waypost_proto.limits import MAX_KEY_CHARS
from waypost_proto.models import MAX_INTENT_CHARS, MAX_TRIED, ModelCall, ModelTry
from waypost_proto.usage import MICROS_PER_USD

_MAX_TRY_CHARS = 300


def price_of(model: Model, prices: Prices) -> Price | None:
    """What a model costs: its own price, or the table's; None: nobody knows."""
    own = options_of(model).price
    return own if own is not None else prices.of(model.provider, model.name)


class CallRecord:
    """Written to while the call goes on, so that it is there however the call ends."""

    def __init__(self, request: ModelRequest, prices: Prices) -> None:
        self._request = request
        self._prices = prices
        self._used = TokenCounts()
        self._micros: int | None = 0
        self._tried: list[ModelTry] = []
        self._estimated = False
        self.requests = 0
        self.model: Model | None = None
        """The one that was asked last."""
        self.first_piece_seconds: float | None = None
        self.response: ModelResponse | None = None

    def asked(self, model: Model) -> None:
        """A request goes out."""
        self.model = model
        self.requests += 1
        self.first_piece_seconds = None

    def used(self, model: Model, usage: TokenCounts, *, estimated: bool = False) -> None:
        """A request has taken so much, whatever came of it."""
        self._used = _plus(self._used, usage)
        self._estimated = self._estimated or estimated
        price = price_of(model, self._prices)
        if price is None:
            self._micros = None
        elif self._micros is not None:
            self._micros += price.micros(usage)

    def failed(self, model: Model, error: BaseException, seconds: float) -> None:
        """A request got no answer."""
        name = type(error).__name__
        after = error.retry_after if isinstance(error, ModelBusy) else None
        message = text_of(str(error))[:_MAX_TRY_CHARS]
        self._tried.append(
            ModelTry(
                model=_cut(model.name),
                provider=_cut(model.provider),
                error=_cut(name),
                message=message,
                seconds=round(max(0.0, seconds), 3),
                retry_after=None if after is None else max(0.0, after),
            )
        )

    def report(self) -> None:
        """Tell the running step's meter. Outside of a step nobody hears it."""
        meter = CURRENT.get()
        if meter is None:
            return
        cost = Decimal(self._micros or 0) / MICROS_PER_USD
        meter.add(tokens=self._used.input_tokens + self._used.output_tokens, cost_usd=cost)
        if self.model is not None:
            meter.model = self.written()
        if self.response is not None and self.response.message.text:
            meter.fingerprint = fingerprint(self.response.message.text)

    def written(self) -> ModelCall:
        """As the log keeps it. At least one request must have been made, or tried."""
        assert self.model is not None
        used, response = self._used, self.response
        call = ModelCall(
            model=_cut(self.model.name),
            provider=_cut(self.model.provider),
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cached_tokens=used.cached_tokens,
            reasoning_tokens=used.reasoning_tokens,
            cache_write_tokens=used.cache_write_tokens,
            attempts=max(1, self.requests),
            first_token_seconds=self.first_piece_seconds,
            request_digest=digest_of(self._request),
            cost_micros=self._micros,
            estimated=self._estimated,
            tried=self._tried[-MAX_TRIED:],
            **capture_of(self._request, response),
        )
        if response is None:
            return call
        return replace(
            call,
            answered_by=_cut(response.answered_by),
            response_id=_cut(response.response_id),
            finish=response.finish,
            intent=text_of(response.message.text)[:MAX_INTENT_CHARS],
        )


def digest_of(request: ModelRequest) -> str:
    """SHA-256 of the request as JSON, hexadecimal."""
    return hashlib.sha256(encode(request)).hexdigest()


def _plus(a: TokenCounts, b: TokenCounts) -> TokenCounts:
    return TokenCounts(**{name: getattr(a, name) + getattr(b, name) for name in TokenCounts.__struct_fields__})


def _cut(text: str) -> str:
    return text[:MAX_KEY_CHARS]


__all__ = ["CallRecord", "digest_of", "price_of"]
