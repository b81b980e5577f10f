"""Whether prompts and answers are kept for people to look at (in traces, say), and what is taken out of them before. Off by default.

Off does not mean that an answer is nowhere: the log holds it as the step's result, because a run must be able to go on from it. Prompts
are recorded nowhere unless they are captured.

    WAYPOST_CAPTURE=off | prompts | answers | all
    WAYPOST_CAPTURE_REDACT=package.module:function        called with each text, returns what may be kept
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypedDict, cast, get_args

import structlog

from waypost.models.messages import AssistantMessage, Message, ModelRequest, ModelResponse
from waypost_io.known_secrets import KNOWN
from waypost_proto.codec import encode
from waypost_proto.errors import Misconfigured
from waypost_proto.models import MAX_CAPTURED_BYTES

What = Literal["off", "prompts", "answers", "all"]
CAPTURE_VARIABLE = "WAYPOST_CAPTURE"
REDACT_VARIABLE = "WAYPOST_CAPTURE_REDACT"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What is captured. `redact` gets every text (instructions, messages, arguments) and returns what may be kept of it; what it raises
    leaves the whole text out. Secrets that this process knows are hidden in any case."""

    what: What = "off"
    redact: Callable[[str], str] | None = None

    @property
    def prompts(self) -> bool:
        return self.what in ("prompts", "all")

    @property
    def answers(self) -> bool:
        return self.what in ("answers", "all")

    def clean(self, text: str) -> str:
        """A text as it may be kept."""
        if self.redact is not None and text:
            try:
                text = self.redact(text)
            except Exception as error:  # noqa: BLE001 - a hook of the user's: what it cannot judge is not kept
                _log.warning("a redaction hook failed, leaving the text out", error=type(error).__name__)
                return "(left out: the redaction hook failed)"
        return KNOWN.hide(text)


class Captured(TypedDict):
    """The fields of a `ModelCall`."""

    captured_input: str
    captured_output: str


_OFF = Captured(captured_input="", captured_output="")
_set: Capture | None = None


def set_capture(capture: Capture | None) -> None:
    """What this process captures from now on; None: what the environment says."""
    global _set  # noqa: PLW0603 - one policy a process, like its log level
    _set = capture


def current_capture() -> Capture:
    """The policy of this process. Raises `Misconfigured` for an environment that cannot be right."""
    return _set if _set is not None else _of_environment(os.environ.get(CAPTURE_VARIABLE, ""), os.environ.get(REDACT_VARIABLE, ""))


def capture_of(request: ModelRequest, response: ModelResponse | None) -> Captured:
    """What the record of this call keeps of its texts."""
    capture = current_capture()
    if capture.what == "off":
        return _OFF
    asked = answered = ""
    if capture.prompts:
        messages = [_cleaned(message, capture) for message in request.messages]
        asked = _text({"instructions": capture.clean(request.instructions), "messages": messages})
    if capture.answers and response is not None:
        answered = _text(_cleaned(response.message, capture))
    return Captured(captured_input=asked, captured_output=answered)


def _cleaned(message: Message, capture: Capture) -> dict[str, object]:
    kept: dict[str, object] = {"role": message.__struct_config__.tag, "text": capture.clean(message.text)}
    if isinstance(message, AssistantMessage) and message.tool_uses:
        kept["tool_uses"] = [{"name": use.name, "arguments": capture.clean(use.arguments)} for use in message.tool_uses]
    return kept


def _text(value: object) -> str:
    """JSON, of which the newest end is kept if it is too long."""
    body = encode(value)
    if len(body) <= MAX_CAPTURED_BYTES:
        return body.decode("utf-8")
    return f"… ({len(body)} bytes) " + body[-(MAX_CAPTURED_BYTES - 64) :].decode("utf-8", "ignore")


@cache
def _of_environment(what: str, redact: str) -> Capture:
    if what and what not in get_args(What):
        raise Misconfigured(f"{CAPTURE_VARIABLE}={what!r}: use one of {', '.join(get_args(What))}")
    return Capture(what=cast("What", what or "off"), redact=_hook(redact) if redact else None)


def _hook(path: str) -> Callable[[str], str]:
    module, _, name = path.partition(":")
    try:
        hook = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise Misconfigured(f"{REDACT_VARIABLE}={path!r}: write package.module:function; {error}") from error
    if not callable(hook):
        raise Misconfigured(f"{REDACT_VARIABLE}={path!r} is not a function")
    return cast("Callable[[str], str]", hook)


__all__ = ["CAPTURE_VARIABLE", "REDACT_VARIABLE", "Capture", "Captured", "capture_of", "current_capture", "set_capture"]
