"""A handoff with the conversation: what the agent that takes over is given besides the words that were written for it. Pure.

It travels as the child run's input, in an envelope of its own: so it is recorded once, with the run that goes on from it, and no model call
of that run depends on the log of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Raw, Struct
from msgspec.structs import replace

from waypost.models.messages import AssistantMessage, Message, ToolMessage, UserMessage
from waypost.reasoning.state import HANDOFF, State, size_of
from waypost.reasoning.texts import raw_object, text_of_value
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage

if TYPE_CHECKING:
    from waypost.reasoning.options import Handoff

FIELD = "waypost_handoff"
"""The one field of the input of a run that takes over with the conversation."""
MAX_CHARS = 1_000_000
"""Of the conversation that is handed over: the oldest messages are left out."""
_LEFT_OUT = "(What was said before is left out.)"


class HandoffFailed(Exception):
    """The filter of a handoff raised, or returned what is no conversation: a mistake in code, which no model can mend."""


class HandedOver(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Such an input: who hands over, what was said, and the input proper."""

    sender: str
    conversation: tuple[Message, ...] = ()
    input: Raw = Raw(b"null")


class _Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    waypost_handoff: HandedOver


def conversation_of(state: State) -> tuple[Message, ...]:
    """What an agent has heard and said so far, without its last words, which are the handoff itself."""
    dialogue = state.dialogue
    summary = [UserMessage(text=f"What has happened so far, in short:\n{dialogue.summary}")] if dialogue.summary else []
    opening = [UserMessage(text=state.opening)] if state.opening else []
    messages: list[Message] = [*opening, *summary, *dialogue.messages, *(UserMessage(text=note.text) for note in state.notes)]
    return tuple(kept for kept in map(_handed, messages) if kept is not None)


def _handed(message: Message) -> Message | None:
    """Without what only its own model may read, and without a handoff."""
    if not isinstance(message, AssistantMessage):
        return message
    uses = tuple(use for use in message.tool_uses if not use.name.startswith(HANDOFF))
    return replace(message, tool_uses=uses, opaque=None) if message.text.strip() or uses else None


def without_calls(messages: Sequence[Message]) -> Sequence[Message]:
    """A filter for `Handoff(conversation=…)`: only what was said, without calls and their results."""
    said = (replace(message, tool_uses=()) if isinstance(message, AssistantMessage) else message for message in messages)
    return [message for message in said if not isinstance(message, ToolMessage) and message.text.strip()]


def packed(sender: str, handoff: Handoff, conversation: Sequence[Message], body: bytes) -> bytes:
    """The input of the run that takes over. Raises `HandoffFailed`."""
    kept: list[Message] = []
    room = MAX_CHARS
    for message in reversed(_chosen(handoff, conversation)):
        room -= size_of(message)
        if room < 0:
            kept.append(UserMessage(text=_LEFT_OUT))
            break
        kept.append(message)
    handed = HandedOver(sender=sender, conversation=tuple(reversed(kept)), input=Raw(body))
    return bytes(raw_object({FIELD: handed}))


def _chosen(handoff: Handoff, conversation: Sequence[Message]) -> list[Message]:
    """What the filter chooses."""
    if isinstance(handoff.conversation, bool):
        return list(conversation) if handoff.conversation else []
    what = f"the conversation filter of the handoff to {handoff.agent.name!r}"
    try:
        chosen = list(handoff.conversation(conversation))
    except Exception as error:
        raise HandoffFailed(f"{what} raised {type(error).__name__}: {error}") from error
    for message in chosen:
        if not isinstance(message, UserMessage | AssistantMessage | ToolMessage):
            raise HandoffFailed(f"{what} returned {message!r}, which is no message")
    return chosen


def handed_over(body: bytes) -> HandedOver | None:
    """The envelope of a run's input; None for an input that is none."""
    if not body.startswith(b'{"' + FIELD.encode()):
        return None
    try:
        return decode(_Envelope, body).waypost_handoff
    except BadMessage:
        return None


def input_of(body: bytes) -> bytes:
    """The input proper."""
    handed = handed_over(body)
    return body if handed is None else bytes(handed.input)


def opening_of(body: bytes) -> str:
    """What a model reads of a run's input; "" for none."""
    handed = handed_over(body)
    given = body if handed is None else bytes(handed.input)
    text = text_of_value(given) if given != b"null" else ""
    if handed is None:
        return text
    said = "\n".join(map(written, handed.conversation)) or "(nothing)"
    asked = f"\n\nWhat {handed.sender} hands over to you:\n{text}" if text else ""
    return f"You take over from the agent {handed.sender}. The conversation until now:\n<conversation>\n{said}\n</conversation>{asked}"


def written(message: Message) -> str:
    """One message of a conversation as a text that any model can read, whatever tools it knows."""
    match message:
        case UserMessage():
            return f"user: {message.text}"
        case ToolMessage():
            return f"{message.name} {'failed' if message.failed else 'answered'}: {message.text}"
        case AssistantMessage():
            calls = "".join(f"\nagent calls {use.name} {use.arguments}" for use in message.tool_uses)
            return f"agent: {message.text}{calls}"


__all__ = [
    "FIELD",
    "HandedOver",
    "HandoffFailed",
    "conversation_of",
    "handed_over",
    "input_of",
    "opening_of",
    "packed",
    "without_calls",
    "written",
]
