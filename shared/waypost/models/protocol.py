"""The protocol that every model speaks, and how a call of one becomes a recorded step. Errors say whether another try may help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from waypost.models.messages import Delta, ModelRequest, ModelResponse
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


class ModelBusy(TransientError):
    """The provider could not answer now. `retry_after`: seconds, if it said."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ModelRefused(PermanentError):
    """The provider will not answer this request, however often it is asked."""


__all__ = ["Model", "ModelBusy", "ModelRefused"]
