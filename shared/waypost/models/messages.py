"""What is said between an agent and a model, in one form for every provider. Pure data; recorded as JSON, so shapes change additively.

A conversation is a list of messages in which every `ToolUse` of an assistant's message is followed, before the next one, by its
`ToolMessage`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

Finish = Literal["stop", "tool_calls", "length", "refusal"]


class ToolUse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The model wants a tool (or an agent) called. `arguments` is what it wrote, which may be no JSON at all."""

    id: str
    """The provider's, unique within the conversation."""
    name: str
    arguments: str


class UserMessage(Struct, tag_field="role", tag="user", frozen=True, kw_only=True, omit_defaults=True):
    """What the agent is told from outside: its input, an added instruction, a summary of what was cut away."""

    text: str


class AssistantMessage(Struct, tag_field="role", tag="assistant", frozen=True, kw_only=True, omit_defaults=True):
    """What the model answered."""

    text: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    opaque: Raw | None = None
    """What the provider must be given back unread (signed reasoning blocks, for instance): JSON, only for the same provider."""


class ToolMessage(Struct, tag_field="role", tag="tool", frozen=True, kw_only=True, omit_defaults=True):
    """What came back from a tool: its result as JSON text, or what went wrong."""

    id: str
    name: str
    text: str
    failed: bool = False


Message = UserMessage | AssistantMessage | ToolMessage


class ToolSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool as the model sees it. `parameters` is the JSON Schema of an object."""

    name: str
    description: str
    parameters: Raw


class ModelRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question to a model. `output_schema`: the answer's text must be JSON that fits it (structured output)."""

    messages: tuple[Message, ...]
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: Literal["auto", "none", "required"] = "auto"
    output_schema: Raw | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()


class TokenCounts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the provider counted. `input_tokens` includes `cached_tokens` (read from its cache) and `cache_write_tokens` (written to it),
    `output_tokens` includes `reasoning_tokens`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cache_write_tokens: int = 0


class ModelResponse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole answer, as it is recorded."""

    message: AssistantMessage
    finish: Finish = "stop"
    usage: TokenCounts = TokenCounts()
    answered_by: str = ""
    response_id: str = ""


class TextDelta(Struct, tag_field="type", tag="text", frozen=True, kw_only=True):
    """A piece of the answer's text, as it arrives."""

    text: str


class ToolUseDelta(Struct, tag_field="type", tag="tool_use", frozen=True, kw_only=True):
    """A piece of what the model writes for a tool. `index` tells the tool uses of one answer apart; `name` comes with the first piece."""

    index: int
    name: str = ""
    arguments: str = ""


Delta = TextDelta | ToolUseDelta

__all__ = [
    "AssistantMessage",
    "Delta",
    "Finish",
    "Message",
    "ModelRequest",
    "ModelResponse",
    "TextDelta",
    "TokenCounts",
    "ToolMessage",
    "ToolSpec",
    "ToolUse",
    "ToolUseDelta",
    "UserMessage",
]
