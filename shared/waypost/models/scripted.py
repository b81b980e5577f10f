"""A model that answers from a script: for tests, for examples that run offline, and for rehearsing what a provider may do wrong.

    ScriptedModel(["Paris", "Rome"])                    the n-th answer of a conversation
    ScriptedModel(lambda request: ...)                  whatever a function says
    ScriptedModel([Say(text="a long story", pieces=20, delay=1.0)])
    ScriptedModel([ModelBusy("429", retry_after=2), "then it works"], by="call")

A list is read by the turn of the conversation: the number of answers that the request already holds. So the same conversation gets the same
answer in every process, and a run that goes on after a crash goes on in the script. `by="call"` reads it by the calls of this process.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from waypost.models.estimating import input_tokens_of, tokens_of
from waypost.models.messages import (
    AssistantMessage,
    Delta,
    Finish,
    ModelRequest,
    ModelResponse,
    TextDelta,
    TokenCounts,
    ToolUse,
    ToolUseDelta,
)
from waypost.models.options import ModelOptions
from waypost.models.prices import FREE
from waypost.models.protocol import ModelCut, ModelRefused

MAX_KEPT = 1_000
"""Requests that a scripted model remembers, for tests to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """One answer and how it comes. `delay`: seconds it takes in all. `pieces`: in how many it is streamed. `cut_after`: the stream breaks
    off after so many of them."""

    text: str = ""
    tool_uses: tuple[ToolUse, ...] = ()
    finish: Finish | None = None
    """Unless given: `tool_calls` with tool uses, else `stop`."""
    usage: TokenCounts | None = None
    """Unless given: the cautious count of what was asked and said."""
    delay: float = 0.0
    pieces: int = 1
    cut_after: int | None = None


Answer = str | Say | ToolUse | Sequence[ToolUse] | ModelResponse | BaseException
"""A text, an answer in detail, the tools that are wanted, a whole response, or what is raised."""
Script = Sequence[Answer] | Callable[[ModelRequest], Answer | Awaitable[Answer]]


@dataclass(eq=False)
class ScriptedModel:
    """See the module. `requests` are the last ones that it was asked in this process. It costs nothing unless `options` say otherwise."""

    script: Script
    name: str = "scripted"
    provider: str = "scripted"
    by: Literal["turn", "call"] = "turn"
    options: ModelOptions = field(default_factory=lambda: ModelOptions(price=FREE))
    requests: deque[ModelRequest] = field(default_factory=lambda: deque(maxlen=MAX_KEPT), repr=False)
    calls: int = 0
    lane: object = field(default_factory=object, repr=False)
    """Its limits are its own, whatever other scripts have the same name."""

    async def generate(self, request: ModelRequest, on_delta: Callable[[Delta], None] | None = None) -> ModelResponse:
        """The next answer of the script. Raises what the script holds, and `ModelRefused` when it is at its end."""
        number = self.calls
        self.calls += 1
        self.requests.append(request)
        answer = await self._answer(request, number)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, ModelResponse):
            await _stream(Say(text=answer.message.text, tool_uses=answer.message.tool_uses), on_delta)
            return answer
        say = _said(answer)
        await _stream(say, on_delta)
        return ModelResponse(
            message=AssistantMessage(text=say.text, tool_uses=say.tool_uses),
            finish=say.finish or ("tool_calls" if say.tool_uses else "stop"),
            usage=say.usage if say.usage is not None else _counted(request, say),
            answered_by=self.name,
        )

    async def _answer(self, request: ModelRequest, number: int) -> Answer:
        if callable(self.script):
            made = self.script(request)
            return await made if inspect.isawaitable(made) else made
        index = number if self.by == "call" else sum(isinstance(message, AssistantMessage) for message in request.messages)
        if index >= len(self.script):
            last = request.messages[-1].text[:200] if request.messages else ""
            return ModelRefused(
                f"the script of {self.name!r} has {len(self.script)} answers and was asked for number {index + 1}: {last!r}"
            )
        return self.script[index]


def uses(name: str, arguments: str = "{}", *, id: str = "") -> ToolUse:  # noqa: A002 - the field's name
    """A tool use for a script; `arguments` is JSON text, or whatever a model may write instead."""
    return ToolUse(id=id or f"use-{name}", name=name, arguments=arguments)


def _said(answer: str | Say | ToolUse | Sequence[ToolUse]) -> Say:
    match answer:
        case str():
            return Say(text=answer)
        case Say():
            return answer
        case ToolUse():
            return Say(tool_uses=(answer,))
        case _:
            return Say(tool_uses=tuple(answer))


async def _stream(say: Say, on_delta: Callable[[Delta], None] | None) -> None:
    count = max(1, say.pieces)
    size = -(-len(say.text) // count)
    for number in range(count):
        if say.delay:
            await asyncio.sleep(say.delay / count)
        if number == say.cut_after:
            raise ModelCut(f"the stream broke off after {number} of {count} pieces", billed=True)
        if on_delta is not None and say.text:
            on_delta(TextDelta(text=say.text[number * size : (number + 1) * size]))
    if on_delta is not None:
        for index, use in enumerate(say.tool_uses):
            on_delta(ToolUseDelta(index=index, name=use.name, arguments=use.arguments))


def _counted(request: ModelRequest, say: Say) -> TokenCounts:
    written = tokens_of(say.text) + sum(tokens_of(use.name) + tokens_of(use.arguments) for use in say.tool_uses)
    return TokenCounts(input_tokens=input_tokens_of(request), output_tokens=written)


__all__ = ["MAX_KEPT", "Answer", "Say", "Script", "ScriptedModel", "uses"]
