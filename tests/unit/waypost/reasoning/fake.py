"""A model that says what a test wrote down, and remembers what it was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from waypost.models.messages import AssistantMessage, Delta, ModelRequest, ModelResponse, TokenCounts, ToolUse

Line = ModelResponse | Exception | Callable[[ModelRequest], ModelResponse]


class Fake:
    """Lines in their order; the last one is said again and again."""

    def __init__(self, *lines: Line | str) -> None:
        self.name = "fake-1"
        self.provider = "scripted"
        self.lines: list[Line] = [says(line) if isinstance(line, str) else line for line in lines]
        self.asked: list[ModelRequest] = []

    async def generate(self, request: ModelRequest, on_delta: Callable[[Delta], None] | None = None) -> ModelResponse:
        self.asked.append(request)
        line = self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]
        if isinstance(line, Exception):
            raise line
        return line if isinstance(line, ModelResponse) else line(request)


def says(text: str, **fields: Any) -> ModelResponse:
    return ModelResponse(message=AssistantMessage(text=text), **fields)


def calls(*uses: tuple[str, Any], text: str = "", tokens: int = 0, ids: tuple[str, ...] = ()) -> ModelResponse:
    """Arguments that are no text are written as JSON."""
    made = tuple(
        ToolUse(
            id=ids[number] if ids else f"call-{number}",
            name=name,
            arguments=arguments if isinstance(arguments, str) else json.dumps(arguments),
        )
        for number, (name, arguments) in enumerate(uses)
    )
    usage = TokenCounts(input_tokens=tokens, output_tokens=1 if tokens else 0)
    return ModelResponse(message=AssistantMessage(text=text, tool_uses=made), finish="tool_calls", usage=usage)
