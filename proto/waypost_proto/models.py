"""What the log keeps of a model call beside its answer: who answered, what it took, and what the model said it was about to do.

The answer itself is the step's `result`; the prompt is not recorded, because it follows from what is. Counts are the provider's own.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from waypost_proto.limits import MAX_KEY_CHARS
from waypost_proto.values import AtLeastOne, Count, NonNegative, Value

MAX_INTENT_CHARS = 2_000
"""What is shown of the model's own words; the whole text is in the step's result."""

MAX_TRIED = 16
"""Requests that failed, as shown with a call; of more the first ones are left out."""
MAX_CAPTURED_BYTES = 16 * 1024
"""Of a captured prompt or answer, as JSON text: what a person looks at, and what still fits into a message beside the answer."""

_Name = Annotated[str, Meta(max_length=MAX_KEY_CHARS)]


class ModelTry(Value, frozen=True, kw_only=True):
    """A request of a call that got no answer: which model, and why (`error` is a class name, `message` is cut)."""

    model: _Name
    provider: _Name = ""
    error: _Name = ""
    message: str = ""
    seconds: NonNegative = 0.0
    """From sending it to giving it up."""
    retry_after: NonNegative | None = None
    """Seconds, if the provider said."""


class ModelCall(Value, frozen=True, kw_only=True):
    """A local step that asked a model. `model` and `provider` are what was asked for, `answered_by` what the provider says has answered.

    `input_tokens` includes `cached_tokens` (read from the provider's prompt cache), `output_tokens` includes `reasoning_tokens`. `attempts`
    counts the requests, to every model of a fallback chain. `first_token_seconds` is None where nothing was streamed. `request_digest`
    is the SHA-256 of the canonical request, so that two calls can be seen to be the same without recording what was asked.

    `cost_micros` is the call's cost in micro-dollars by the price table; None: nobody knows the price. `estimated`: the provider did not
    say what it counted (the answer was cut, cancelled or too late), so that the tokens are our own cautious count. `tried` are the
    requests that failed before. `captured_input` and `captured_output` are there only where capturing is switched on.
    """

    model: _Name
    provider: _Name = ""
    answered_by: _Name = ""
    response_id: _Name = ""
    finish: _Name = ""
    """Why it stopped: `stop`, `tool_calls`, `length`, `refusal`, or the provider's own word; "" for a call that failed."""
    input_tokens: Count = 0
    output_tokens: Count = 0
    cached_tokens: Count = 0
    reasoning_tokens: Count = 0
    attempts: AtLeastOne = 1
    first_token_seconds: NonNegative | None = None
    intent: Annotated[str, Meta(max_length=MAX_INTENT_CHARS)] = ""
    request_digest: str = ""
    cache_write_tokens: Count = 0
    cost_micros: Count | None = None
    estimated: bool = False
    tried: list[ModelTry] = []
    captured_input: str = ""
    captured_output: str = ""


__all__ = ["MAX_CAPTURED_BYTES", "MAX_INTENT_CHARS", "MAX_TRIED", "ModelCall", "ModelTry"]
