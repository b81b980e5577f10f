"""A model call as a local effect: what it is asked is built when it begins, and its answer says up to where it had heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from waypost.execution.effects import LocalEffect
from waypost.metering import CURRENT
from waypost.models.calls import ask, reservation_of
from waypost.models.messages import ModelRequest, ModelResponse
from waypost.models.protocol import Model
from waypost.models.records import digest_of
from waypost.reasoning.deciding import Ask
from waypost.reasoning.state import Answer
from waypost_core.loops import fingerprint
from waypost_proto.codec import encode
from waypost_proto.ids import CallId

Question = Callable[[], tuple[ModelRequest, int]]
"""What is asked, and the seq of the last outside event that it knows of."""


def model_effect(call_id: CallId, asked: Ask, model: Model, question: Question, *, metered: bool) -> LocalEffect:
    """`question` is called when the step begins; before that only where what it may take must be reserved, because counting a long
    conversation takes longer than everything else that a turn costs."""

    async def run() -> bytes:
        request, heard = question()
        return encode(_answer(await ask(model, request), heard, asked.through))

    reserve = reservation_of(model, question()[0]).to_wire() if metered else None
    return LocalEffect(call_id, asked.kind, run, reserve, asked=lambda: digest_of(question()[0]), model=True)


def _answer(response: ModelResponse, heard: int, through: int) -> Answer:
    meter = CURRENT.get()
    if meter is not None:  # answers without calls are compared with each other; what repeats in calls is seen by their arguments
        meter.fingerprint = "" if response.message.tool_uses else fingerprint(response.message.text)
    fields: dict[str, Any] = {name: getattr(response, name) for name in ModelResponse.__struct_fields__}
    return Answer(**fields, heard=heard, through=through)


__all__ = ["Question", "model_effect"]
