"""How one model is asked: its limits, its patience, its retries. Plain values, the same for every provider."""

from __future__ import annotations

from dataclasses import dataclass

from waypost.models.prices import Price
from waypost.options import Seconds, rate_of, seconds_of
from waypost_proto.values import Rate, Retry

MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""Usual cap on one answer: some million tokens, far more than a model writes on purpose."""


_RETRY = Retry(max_attempts=4, initial_seconds=0.5, factor=2.0, max_seconds=20.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What may be said about a model besides its name. Raises `ValueError` or `TypeError` for what cannot be.

    Lengths are in seconds (or a `timedelta`). Rates and `concurrency` hold for all calls of this model (provider and name) on one worker
    together.
    """

    max_output_tokens: int = 8_192
    """Asked for where a request does not say; what is reserved for the answer."""
    timeout: Seconds = 600.0
    """For one request, from sending it to its last piece."""
    piece_timeout: Seconds = 120.0
    """Without any sign of life, where the answer is streamed: before the first piece and between two."""
    retry: Retry = _RETRY
    """Within one step. A wait that would be longer than `max_wait` ends the step instead, so that the wait can be a timer of the run."""
    max_wait: Seconds = 20.0
    patience: int = 5
    """Steps that are made of one call, with timers of the run between them, while the provider is busy."""
    max_answer_bytes: int = MAX_ANSWER_BYTES
    concurrency: int = 64
    """Requests at one time."""
    rate: str | Rate | None = None
    """Requests: "500/min"."""
    token_rate: str | Rate | None = None
    """Tokens, counted as they are reserved: "200000/min"."""
    price: Price | None = None
    """Instead of the price table's; `FREE` for a model of your own."""
    stream: bool = True
    """Ask for the answer piece by piece. False for servers that cannot."""

    def __post_init__(self) -> None:
        for name in ("max_output_tokens", "patience", "max_answer_bytes", "concurrency"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"ModelOptions({name}={value!r}): give a whole number of at least 1")
        for name in ("timeout", "piece_timeout", "max_wait"):
            seconds_of(f"ModelOptions({name}=…)", getattr(self, name))
        rate_of(self.rate)
        rate_of(self.token_rate)
        if self.retry.max_attempts is not None and self.retry.max_attempts < 1:
            raise ValueError(f"ModelOptions(retry={self.retry!r}): max_attempts is at least 1")

    @property
    def timeout_seconds(self) -> float:
        return seconds_of("timeout", self.timeout)

    @property
    def piece_seconds(self) -> float:
        return seconds_of("piece_timeout", self.piece_timeout)

    @property
    def max_wait_seconds(self) -> float:
        return seconds_of("max_wait", self.max_wait)


DEFAULT_OPTIONS = ModelOptions()


def options_of(model: object) -> ModelOptions:
    """What a model says of itself with an `options` attribute, or the usual."""
    options = getattr(model, "options", None)
    return options if isinstance(options, ModelOptions) else DEFAULT_OPTIONS


__all__ = ["DEFAULT_OPTIONS", "MAX_ANSWER_BYTES", "ModelOptions", "options_of"]
