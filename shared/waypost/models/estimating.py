"""How many tokens a call may take at most: a cautious count without the provider's tokenizer. Pure, some microseconds per request.

The rule: one token for every three bytes of UTF-8 (English prose has four to five, code about three, Chinese three), and sixteen
for each message, tool and tool use. The answer counts with all that may be written (`max_output_tokens`). What was really used is settled
when the provider has said it, so an estimate that is too high costs nothing but room while the call runs.
"""

from __future__ import annotations

from msgspec import Raw

from waypost.models.messages import AssistantMessage, Message, ModelRequest, TokenCounts, ToolMessage, UserMessage

BYTES_PER_TOKEN = 3
TOKENS_EACH = 16
"""For the frame around each message, tool and tool use."""


def tokens_of(text: str) -> int:
    """The cautious count of a text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return -(-size // BYTES_PER_TOKEN)


def input_tokens_of(request: ModelRequest) -> int:
    """The cautious count of everything that is sent."""
    total = TOKENS_EACH + tokens_of(request.instructions)
    for message in request.messages:
        total += TOKENS_EACH + _of_message(message)
    for tool in request.tools:
        total += TOKENS_EACH + tokens_of(tool.name) + tokens_of(tool.description) + _of_bytes(tool.parameters)
    if request.output_schema is not None:
        total += TOKENS_EACH + _of_bytes(request.output_schema)
    return total


def most_of(request: ModelRequest, max_output_tokens: int) -> TokenCounts:
    """The most that the call can take."""
    return TokenCounts(input_tokens=input_tokens_of(request), output_tokens=request.max_output_tokens or max_output_tokens)


def _of_message(message: Message) -> int:
    match message:
        case UserMessage(text=text):
            return tokens_of(text)
        case ToolMessage(text=text):
            return tokens_of(text)
        case AssistantMessage():
            uses = sum(TOKENS_EACH + tokens_of(use.name) + tokens_of(use.arguments) for use in message.tool_uses)
            return tokens_of(message.text) + uses + (_of_bytes(message.opaque) if message.opaque is not None else 0)


def _of_bytes(raw: Raw) -> int:
    return -(-len(bytes(raw)) // BYTES_PER_TOKEN)


__all__ = ["BYTES_PER_TOKEN", "TOKENS_EACH", "input_tokens_of", "most_of", "tokens_of"]
