"""One model call as a recorded step: the same for durable functions, reasoning agents, and whoever else asks a model.

    effect = model_step(call_id, model, request)          a `LocalEffect`, for who builds an execution
    response = await ask(model, request)                  the call itself, inside a function that a step runs

A call reserves what it may take at most, waits for its turn, asks, tries again, falls back, and reports what was used: also when it fails
or is cancelled. Within one step it waits only briefly. A longer wait ends the step with `retry_after` recorded, so that it can be a
timer of the run: `retry_in` says how long.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import UNSET, Struct
from msgspec.structs import replace

from waypost.execution.effects import LocalEffect
from waypost.metering import Usage
from waypost.models.asking import Asking
from waypost.models.estimating import most_of
from waypost.models.fallback import better, chain_of
from waypost.models.messages import ModelRequest, ModelResponse
from waypost.models.options import options_of
from waypost.models.prices import Prices, default_prices
from waypost.models.protocol import Model, ModelBusy, ModelRefused, ModelUnpriced
from waypost.models.records import CallRecord, price_of
from waypost.step_scope import current_scope
from waypost_core.backoff import delay_seconds
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadMessage
from waypost_proto.ids import CallId
from waypost_proto.usage import MICROS_PER_USD
from waypost_proto.values import Failure

STEP_NAME = "generate"
"""What the log calls the step. Not the model's name: another model for the next call must not make a replay diverge."""

_BUSY = frozenset({"ModelBusy", "ModelTimeout", "ModelCut"})


def model_step(call_id: CallId, model: Model, request: ModelRequest, *, prices: Prices | None = None, name: str = STEP_NAME) -> LocalEffect:
    """The call as a local effect with its reservation; its result is a `ModelResponse` as JSON (`response_of`).

    What it raises is recorded as `step_failed`; `retry_in` says whether, and when, to ask again with a new step.
    """
    return LocalEffect(call_id, name, step_body(model, request, prices=prices), reservation_of(model, request, prices).to_wire())


def step_body(model: Model, request: ModelRequest, *, prices: Prices | None = None) -> Callable[[], Awaitable[bytes]]:
    """What such an effect runs."""
    return partial(_as_json, model, request, prices)


def response_of(result: bytes) -> ModelResponse:
    """What the step recorded."""
    return decode(ModelResponse, result)


def reservation_of(model: Model, request: ModelRequest, prices: Prices | None = None) -> Usage:
    """What one request may take at most, of the most expensive model of the chain (`estimating` says how it is counted).

    A model without a known price reserves no cost; where cost is limited it is not asked (`ModelUnpriced`).
    """
    table = prices if prices is not None else default_prices()
    tokens = micros = 0
    for each in chain_of(model):
        most = most_of(request, options_of(each).max_output_tokens)
        price = price_of(each, table)
        tokens = max(tokens, most.input_tokens + most.output_tokens)
        micros = max(micros, 0 if price is None else price.most_micros(most))
    return Usage(tokens=tokens, cost_usd=_usd(micros))


def retry_in(failure: Failure, tries: int, model: Model) -> float | None:
    """Seconds after which to ask again with a new step, when `tries` steps of this call have failed; None: there is no point.

    Deterministic: for a timer of the run.
    """
    options = options_of(chain_of(model)[0])
    if failure.type not in _BUSY or tries >= options.patience:
        return None
    asked = _retry_after(failure)
    return delay_seconds(replace(options.retry, jitter=0.0, max_seconds=max(60.0, options.max_wait_seconds)), tries + 2, 0.0, asked)


async def ask(model: Model, request: ModelRequest, *, prices: Prices | None = None) -> ModelResponse:
    """Ask now, with the retries, fallbacks and limits of this call; report to the running step, if there is one.

    Raises `ModelBusy` (with `retry_after`) when it is time to wait for longer, `ModelRefused` when there is no point, `AnswerTooLarge`,
    `ModelUnpriced`. Cancelling ends the request and reports what it may have used.
    """
    table = prices if prices is not None else default_prices()
    record = CallRecord(request, table)
    scope = current_scope()
    if scope is not None and scope.cost_limited:
        _check_priced(model, table)
    asking = Asking(record, scope.show() if scope is not None and scope.show is not None else None)
    spare = scope is None or not scope.metered
    problem: ModelBusy | ModelRefused | None = None
    try:
        for each in chain_of(model):
            try:
                record.response = await _patiently(asking, each, request, spare=spare)
            except (ModelBusy, ModelRefused) as error:
                problem = better(problem, error)
                if error.billed and not spare:
                    raise
            else:
                return record.response
        assert problem is not None
        raise problem
    finally:
        record.report()


async def _as_json(model: Model, request: ModelRequest, prices: Prices | None) -> bytes:
    return encode(await ask(model, request, prices=prices))


async def _patiently(asking: Asking, model: Model, request: ModelRequest, *, spare: bool) -> ModelResponse:
    """One model, as often as its options say. `spare`: nothing limits what is used, so that a request that may have cost something can be
    repeated within the step; else its repetition must be reserved anew."""
    options = options_of(model)
    whole = request if request.max_output_tokens is not None else replace(request, max_output_tokens=options.max_output_tokens)
    tries = 0
    while True:
        tries += 1
        try:
            return await asking.once(model, options, whole)
        except ModelBusy as error:
            wait = delay_seconds(options.retry, tries, random.random(), error.retry_after)  # noqa: S311 - jitter
            if tries >= options.retry.max_attempts or wait > options.max_wait_seconds or (error.billed and not spare):
                raise
        await asyncio.sleep(wait)


def _check_priced(model: Model, prices: Prices) -> None:
    for each in chain_of(model):
        if price_of(each, prices) is None:
            raise ModelUnpriced(
                f"the run's cost is limited (max_cost_usd) and nobody knows what {each.provider}/{each.name} costs: add it to a file "
                "that WAYPOST_PRICES_FILE names, or give the model ModelOptions(price=Price(input=…, output=…)), or price=FREE"
            )


class _Details(Struct):
    retry_after: float | None = None


def _retry_after(failure: Failure) -> float | None:
    if failure.details is UNSET:
        return None
    try:
        return decode(_Details, failure.details).retry_after
    except BadMessage:  # of another version, or of an error that only has the same name
        return None


def _usd(micros: int) -> str:
    return f"{micros // MICROS_PER_USD}.{micros % MICROS_PER_USD:06d}"


__all__ = ["STEP_NAME", "ask", "model_step", "reservation_of", "response_of", "retry_in", "step_body"]
