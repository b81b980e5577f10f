"""Several models behind one name: the next is asked when one cannot or will not answer."""

from __future__ import annotations

from collections.abc import Callable

from waypost.models.messages import Delta, ModelRequest, ModelResponse
from waypost.models.protocol import Model, ModelBusy, ModelRefused


class Fallback:
    """`Fallback(first, second, …)`: a model that asks each in turn until one answers.

    A recorded call (`ctx.generate`, a `ReasoningAgent`) tries each by that model's own options, and its record says which were asked and
    which has answered. The next is asked after `ModelBusy` (its retries used up) and after `ModelRefused`. An answer that is a refusal, or
    that was cut by its length, is an answer.
    """

    def __init__(self, *models: Model) -> None:
        flat: list[Model] = []
        for model in models:
            flat.extend(model.models if isinstance(model, Fallback) else (model,))
        if len(flat) < 2:
            raise ValueError("Fallback needs at least two models: the first choice, and what is asked when that does not answer")
        self.models: tuple[Model, ...] = tuple(flat)

    def __repr__(self) -> str:
        return f"Fallback({', '.join(map(repr, self.models))})"

    @property
    def name(self) -> str:
        return self.models[0].name

    @property
    def provider(self) -> str:
        return self.models[0].provider

    async def generate(self, request: ModelRequest, on_delta: Callable[[Delta], None] | None = None) -> ModelResponse:
        """Asked outside of a recorded call: each once. Pieces of an answer that broke off have been given out by then."""
        problem: ModelBusy | ModelRefused | None = None
        for model in self.models:
            try:
                return await model.generate(request, on_delta)
            except (ModelBusy, ModelRefused) as error:
                problem = better(problem, error)
        assert problem is not None
        raise problem


def chain_of(model: Model) -> tuple[Model, ...]:
    """The models that a call asks, in order."""
    return model.models if isinstance(model, Fallback) else (model,)


def better(one: ModelBusy | ModelRefused | None, other: ModelBusy | ModelRefused) -> ModelBusy | ModelRefused:
    """Of two failures the one that gives more hope: busy before refused, the shorter wait before the longer."""
    if one is None or (isinstance(one, ModelRefused) and isinstance(other, ModelBusy)):
        return other
    if isinstance(one, ModelBusy) and isinstance(other, ModelBusy) and (other.retry_after or 0.0) < (one.retry_after or 0.0):
        return other
    return one


__all__ = ["Fallback", "better", "chain_of"]
