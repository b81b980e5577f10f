"""The protocol that every model speaks, and how a call of one becomes a recorded step. Errors say whether another try may help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from waypost.models.messages import Delta, ModelRequest, ModelResponse, TokenCounts
from waypost_proto.errors import PermanentError, TransientError


@runtime_checkable
class Model(Protocol):
    """A model of one provider, or several behind one name. Safe to use by many runs at once."""

    @property
    def name(self) -> str:
        """As it is asked for and shown: "gpt-5-mini"."""
        ...

    @property
    def provider(self) -> str:
        """As OpenTelemetry's `gen_ai.provider.name` says it: "openai", "anthropic"; "scripted" for the one of tests."""
        ...

    async def generate(self, request: ModelRequest, on_delta: Callable[[Delta], None] | None = None) -> ModelResponse:
        """One answer. With `on_delta` it is streamed, and `on_delta` is called with each piece; what is returned is the whole all the same.

        Raises `ModelBusy` (429, 529, 5xx, connection lost: try again, after `retry_after` if it says so) and `ModelRefused` (400, 401,
        404, too long a prompt: trying again changes nothing). Cancelling ends the request.
        """
        ...


@runtime_checkable
class Prepares(Protocol):
    """A model that has something to do before its first request: what it takes is no part of the time that an answer may take."""

    async def prepare(self) -> None:
        """Get ready. Called before every request; idempotent, and at once when there is nothing to do."""
        ...


class ModelBusy(TransientError):
    """The provider could not answer now. `retry_after`: seconds, if it said. `usage`: what it had used all the same, if it said."""

    def __init__(self, message: str, *, retry_after: float | None = None, usage: TokenCounts | None = None, billed: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.usage = usage
        self.billed = billed
        """The model may have worked on it, and cost something: the answer did not come, came half, or came too late."""

    @property
    def failure_details(self) -> dict[str, float]:
        """What is recorded beside the message."""
        return {} if self.retry_after is None else {"retry_after": self.retry_after}


class ModelTimeout(ModelBusy):
    """No answer in time, or nothing for too long in the middle of one."""


class ModelCut(ModelBusy):
    """The answer ended before it was whole."""


class ModelRefused(PermanentError):
    """The provider will not answer this request, however often it is asked."""

    billed = False
    """It has cost something all the same."""


class AnswerTooLarge(ModelRefused):
    """The answer is larger than `ModelOptions.max_answer_bytes`: it was cut off and is not kept."""

    billed = True


class ModelUnpriced(ModelRefused):
    """The run's cost is limited, and nobody knows what this model costs. It was not asked."""


__all__ = ["AnswerTooLarge", "Model", "ModelBusy", "ModelCut", "ModelRefused", "ModelTimeout", "ModelUnpriced"]
