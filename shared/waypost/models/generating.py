"""`ctx.generate`: a model call in a durable function, with the waits between its tries as timers of the run. Runs inside the run's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from waypost.context import Engine
from waypost.errors import StepFailed
from waypost.metering import Usage
from waypost.models.calls import STEP_NAME, reservation_of, retry_in, step_body
from waypost.models.messages import AssistantMessage, Message, ModelRequest, ModelResponse, UserMessage
from waypost.models.output import AnswerUnusable, output_of
from waypost.models.protocol import Model
from waypost.models.records import digest_of
from waypost_proto.errors import BadInput

Prompt = str | Sequence[Message] | ModelRequest


class ModelFailed(StepFailed):
    """A model call ended without an answer. `.type` says how: `ModelBusy`, `ModelTimeout`, `ModelCut`, `ModelRefused`, `AnswerTooLarge`,
    `ModelUnpriced`, or the class of what the model raised besides."""


def request_of(prompt: Prompt, instructions: str = "") -> ModelRequest:
    """A prompt as a request. Raises `BadInput` for an empty one."""
    if isinstance(prompt, ModelRequest):
        return prompt if not instructions else replace(prompt, instructions=instructions)
    messages = (UserMessage(text=prompt),) if isinstance(prompt, str) else tuple(prompt)
    if not messages or (isinstance(prompt, str) and not prompt.strip()):
        raise BadInput(f"ctx.generate was given an empty prompt ({prompt!r}): say what the model shall answer")
    return ModelRequest(messages=messages, instructions=instructions)


async def generate(engine: Engine, model: Model, request: ModelRequest, reserve: Usage | None = None) -> ModelResponse:
    """One answer, recorded. Raises `ModelFailed` when all patience is used up."""
    tries = 0
    while True:
        tries += 1
        reserved = reserve if reserve is not None else reservation_of(model, request)
        try:
            answer: ModelResponse = await engine.step(
                STEP_NAME, ModelResponse, step_body(model, request), reserved, asked=partial(digest_of, request), model=True
            )
        except StepFailed as error:
            wait = retry_in(error.failure, tries, model)
            if wait is None:
                raise ModelFailed(f"{error.name} by {model.name}", error.call_id, error.failure) from error
            await asyncio.sleep(wait)
        else:
            return answer


async def generate_as(engine: Engine, model: Model, request: ModelRequest, kind: Any, *, repairs: int, reserve: Usage | None = None) -> Any:
    """The answer as `kind`. What does not fit is told to the model, `repairs` times. Raises `ModelFailed`, `AnswerUnusable`."""
    output = output_of(kind)
    request = output.ask_for(request)
    while True:
        response = await generate(engine, model, request, reserve)
        try:
            return output.value(response)
        except AnswerUnusable as error:
            if repairs <= 0 or error.why not in ("invalid", "empty"):
                raise
            repairs -= 1
            request = replace(request, messages=(*request.messages, *repair_of(error)))


def repair_of(error: AnswerUnusable) -> tuple[Message, ...]:
    """What the model is told about an answer that is of no use: the answer itself, unless it is empty, and what is wrong with it."""
    told = UserMessage(text=f"That cannot be used: {error}. Answer again, with nothing but what was asked for.")
    text = error.response.message.text
    return (AssistantMessage(text=text), told) if text.strip() else (told,)


__all__ = ["ModelFailed", "Prompt", "generate", "generate_as", "repair_of", "request_of"]
