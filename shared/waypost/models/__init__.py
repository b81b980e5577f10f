"""Models: one small protocol, the messages it speaks, and the providers behind it (extras `openai` and `anthropic`)."""

from waypost.models.messages import (
    AssistantMessage,
    Delta,
    Finish,
    Message,
    ModelRequest,
    ModelResponse,
    TextDelta,
    TokenCounts,
    ToolMessage,
    ToolSpec,
    ToolUse,
    ToolUseDelta,
    UserMessage,
)
from waypost.models.protocol import Model, ModelBusy, ModelRefused

__all__ = [
    "AssistantMessage",
    "Delta",
    "Finish",
    "Message",
    "Model",
    "ModelBusy",
    "ModelRefused",
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
