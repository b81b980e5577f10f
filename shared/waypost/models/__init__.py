"""Models: one small protocol, the messages it speaks, and the providers behind it (extras `openai` and `anthropic`).

from waypost.models.openai import OpenAIModel
from waypost.models.anthropic import AnthropicModel
from waypost.models.scripted import ScriptedModel
"""

from waypost.models.fallback import Fallback
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
from waypost.models.options import ModelOptions
from waypost.models.output import AnswerUnusable, Output, output_of
from waypost.models.prices import FREE, Price, Prices, default_prices, read_prices
from waypost.models.protocol import AnswerTooLarge, Model, ModelBusy, ModelCut, ModelRefused, ModelTimeout, ModelUnpriced

__all__ = [
    "FREE",
    "AnswerTooLarge",
    "AnswerUnusable",
    "AssistantMessage",
    "Delta",
    "Fallback",
    "Finish",
    "Message",
    "Model",
    "ModelBusy",
    "ModelCut",
    "ModelOptions",
    "ModelRefused",
    "ModelRequest",
    "ModelResponse",
    "ModelTimeout",
    "ModelUnpriced",
    "Output",
    "Price",
    "Prices",
    "TextDelta",
    "TokenCounts",
    "ToolMessage",
    "ToolSpec",
    "ToolUse",
    "ToolUseDelta",
    "UserMessage",
    "default_prices",
    "output_of",
    "read_prices",
]
