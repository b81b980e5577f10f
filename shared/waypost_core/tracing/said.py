"""What a model answered, as the GenAI conventions write output messages: parts of text and of tool calls, and why it stopped.

A step that asked a model records the answer in Waypost's own form (`waypost.models`), or what the agent's code made of it; which of both
tells its shape.
"""

from __future__ import annotations

import msgspec

from waypost_proto.codec import encode


class _Use(msgspec.Struct):
    name: str
    arguments: str = ""
    id: str = ""


class _Message(msgspec.Struct):
    text: str = ""
    tool_uses: list[_Use] = []


class _Answer(msgspec.Struct):
    message: _Message
    finish: str = ""


_ANSWER = msgspec.json.Decoder(_Answer)


def output_messages(result: bytes, finish: str) -> str:
    """The JSON of `gen_ai.output.messages`. `finish` is why it stopped, where the answer does not say. Never raises."""
    try:
        answer = _ANSWER.decode(result)
    except msgspec.DecodeError:
        answer = _Answer(_Message(text=_text(result)))
    parts: list[dict[str, object]] = []
    if answer.message.text:
        parts.append({"type": "text", "content": answer.message.text})
    parts.extend(
        {"type": "tool_call", "id": use.id or None, "name": use.name, "arguments": _json(use.arguments)} for use in answer.message.tool_uses
    )
    why = answer.finish or finish or "stop"
    return encode([{"role": "assistant", "parts": parts, "finish_reason": "tool_call" if why == "tool_calls" else why}]).decode()


def _text(result: bytes) -> str:
    """A recorded text as it is, anything else as its JSON."""
    try:
        return msgspec.json.decode(result, type=str)
    except msgspec.DecodeError:
        return result.decode("utf-8", "replace")


def _json(arguments: str) -> object:
    """What the model wrote, which may be no JSON at all."""
    try:
        return msgspec.Raw(msgspec.json.format(arguments, indent=-1).encode())
    except (msgspec.DecodeError, UnicodeError):
        return arguments
