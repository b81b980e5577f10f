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

_Name = Annotated[str, Meta(max_length=MAX_KEY_CHARS)]


class ModelCall(Value, frozen=True, kw_only=True):
    """A local step that asked a model. `model` and `provider` are what was asked for, `answered_by` what the provider says has answered.

    `input_tokens` includes `cached_tokens` (read from the provider's prompt cache), `output_tokens` includes `reasoning_tokens`. `attempts`
    counts the requests, to every model of a fallback chain. `first_token_seconds` is None where nothing was streamed. `request_digest`
    is the SHA-256 of the canonical request, so that two calls can be seen to be the same without recording what was asked.
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


__all__ = ["MAX_INTENT_CHARS", "ModelCall"]
