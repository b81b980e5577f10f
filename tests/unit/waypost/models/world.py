"""What the tests of models share: a step with a meter and a scope, and what was shown of it."""

from __future__ import annotations

from typing import Any

from waypost.execution.effects import LocalEffect
from waypost.models import ModelOptions, ModelRequest, UserMessage
from waypost.models.calls import model_step
from waypost.models.prices import FREE, Price
from waypost.step_scope import StepScope
from waypost_proto.ids import CallId, RunId
from waypost_proto.models import ModelCall
from waypost_proto.streams import Piece, TextPiece
from waypost_proto.values import Failure, Retry

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
QUICK = Retry(max_attempts=3, initial_seconds=0.001, max_seconds=0.002)
DOLLAR = Price(input=1, output=2)
"""A micro-dollar a token, and two for what is written."""


def options(**changes: Any) -> ModelOptions:
    """Options that lose no time."""
    return ModelOptions(**{"retry": QUICK, "price": FREE, "max_output_tokens": 100, **changes})


def asked(text: str = "What is the capital of France?", **fields: Any) -> ModelRequest:
    return ModelRequest(messages=(UserMessage(text=text),), **fields)


class Watcher:
    """`waypost.step_scope.Shown`, remembered."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    def begin(self, model: str, provider: str) -> None:
        self.said.append(("begin", f"{provider}/{model}"))

    def piece(self, piece: Piece) -> None:
        self.said.append(("piece", piece))

    def end(self, error: Failure | None = None) -> None:
        self.said.append(("end", error.type if error is not None else ""))

    @property
    def text(self) -> str:
        """What a reader sees: the newest attempt's."""
        last = max((i for i, (what, _) in enumerate(self.said) if what == "begin"), default=0)
        return "".join(value.text for what, value in self.said[last:] if what == "piece" and isinstance(value, TextPiece))


def step(model: Any, request: ModelRequest, watcher: Watcher | None = None, **scope: Any) -> LocalEffect:
    """The call as an effect that a worker has just started."""
    effect = model_step(CallId("0:1"), model, request)
    show = (lambda: watcher) if watcher is not None else None
    effect.scope = StepScope(run_id=RUN, call_id=CallId("0:1"), show=show, **scope)
    return effect


def call_of(effect: LocalEffect) -> ModelCall:
    assert effect.meter.model is not None
    return effect.meter.model
