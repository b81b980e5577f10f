"""Errors that a graph's nodes meet, beside those of tools and steps."""

from __future__ import annotations

from waypost_proto.errors import PermanentError
from waypost_proto.values import Failure


class ModelFailed(PermanentError):
    """A chat model raised. `type` is the class name of what it raised; the same when the node runs again."""

    def __init__(self, model: str, failure: Failure) -> None:
        super().__init__(f"model {model!r}: {failure.type}: {failure.message}")
        self.model = model
        self.failure = failure

    @property
    def type(self) -> str:
        """Class name of the error that the model raised."""
        return self.failure.type


__all__ = ["ModelFailed"]
