"""Whether an answer without calls is the run's result, and what the model is told where it is not. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from waypost.conversion import decode_value, encode_result, fit
from waypost.reasoning.state import Reply
from waypost.reasoning.texts import unfenced
from waypost_proto.errors import BadInput
from waypost_proto.values import Failure

_WRAPPED = "value"
"""What `waypost.models.output` wraps in an object."""
_AGAIN = {
    "AnswerEmpty": "Your answer was empty. Go on with the task: call a tool, or give your final answer.",
    "AnswerCut": "Your answer was cut off because it was too long. Give all of it again, and make it shorter.",
}


def judged(reply: Reply, kind: Any, what: str) -> bytes | Failure:
    """The result as JSON; or a failure whose message is for the model, unless it is `ModelRefused`: then nothing more is asked."""
    if reply.finish == "refusal":
        return Failure(type="ModelRefused", message=reply.text.strip()[:2_000] or "the model refuses the task and does not say why")
    if reply.finish == "length":
        return Failure(type="AnswerCut", message=_AGAIN["AnswerCut"])
    text = reply.text.strip()
    if not text:
        return Failure(type="AnswerEmpty", message=_AGAIN["AnswerEmpty"])
    try:
        return fit(what, encode_result(what, _value(text, kind, what)))
    except BadInput as error:
        message = f"Your answer does not fit: {error}. Answer with JSON that fits the schema, and nothing else."
        return Failure(type="AnswerInvalid", message=message)


def as_result(value: bytes, kind: Any, what: str) -> bytes:
    """A tool's or another agent's result as the run's own. Raises `BadInput`."""
    if kind is str and not value.startswith(b'"'):
        return fit(what, msgspec.json.encode(value.decode("utf-8", "replace")))
    return fit(what, encode_result(what, decode_value(what, kind, value)))


def _value(text: str, kind: Any, what: str) -> Any:
    if kind is str:
        return text
    if kind is Any:
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return text
    body = unfenced(text).encode("utf-8", "replace")
    try:
        return decode_value(what, kind, body)
    except BadInput:
        inner = _inside(body)
        if inner is None:
            raise
        return decode_value(what, kind, inner)


def _inside(body: bytes) -> bytes | None:
    """The value that was wrapped in an object, because providers want one."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return msgspec.json.encode(value[_WRAPPED]) if isinstance(value, dict) and set(value) == {_WRAPPED} else None


__all__ = ["as_result", "judged"]
