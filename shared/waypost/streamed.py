"""What a model writes, as whoever watches a run sees it: `Client.stream` gives `Streamed` items. Pure: messages and events in, items out.

The pieces are a preview. Each call ends with `answered`, whose text is the recorded answer: it replaces all pieces of the call, and it
comes once, whatever was lost or repeated before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from msgspec import UNSET, Struct

from waypost.models.messages import ModelResponse
from waypost_proto.codec import decode, decode_union
from waypost_proto.errors import BadMessage
from waypost_proto.events import TERMINAL_TYPES, AnyData, Event, StepCompleted, StepFailed
from waypost_proto.ids import CallId
from waypost_proto.streams import AnyStreamed, Piece, StreamEnded, StreamPieces, StreamStarted, TextPiece
from waypost_proto.values import BlobRef, Failure

Kind = Literal["started", "restarted", "text", "tool_use", "gap", "broken", "answered", "failed", "ended"]
_MAX_CALLS = 10_000
"""Calls that are remembered, so that nothing of them is shown after their answer."""


class Streamed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to show. `seq` is that of the event, for `answered`, `failed` and `ended`.

    | kind | |
    |---|---|
    | `started` | a model is asked; `model`, `agent` |
    | `restarted` | it is asked again, after a failure or a crash: drop what was shown of this call |
    | `text` | the next characters of the answer |
    | `tool_use` | the next characters of the arguments for `tool`, the `index`-th that the answer wants called |
    | `gap` | something is missing here: watching began late, or messages were lost |
    | `broken` | this request failed (`error`); another may follow |
    | `answered` | the recorded answer: `text` is all of it |
    | `failed` | the call failed for good (`error`), as recorded |
    | `ended` | the run has ended; `text` is its status |
    """

    kind: Kind
    call_id: CallId = CallId("")
    text: str = ""
    tool: str = ""
    index: int = 0
    model: str = ""
    agent: str = ""
    seq: int = 0
    error: Failure | None = None
    ref: BlobRef | None = None
    """Of an answer that is too large for an event: where it is, until it has been fetched."""


class _Call(Struct):
    attempt: str
    rank: tuple[int, int]
    next_seq: int = 1
    tools: dict[int, str] = {}


class Preview:
    """Folds what arrives about one run. Messages of replaced workers, repeats, and whatever comes after the answer give nothing."""

    def __init__(self) -> None:
        self._calls: dict[CallId, _Call] = {}
        self._over: OrderedDict[CallId, None] = OrderedDict()

    def take(self, message: AnyStreamed) -> list[Streamed]:
        """A message from the stream."""
        if message.call_id in self._over:
            return []
        match message:
            case StreamStarted():
                return self._started(message)
            case StreamPieces():
                return self._pieces(message)
            case StreamEnded(call_id=call_id, error=error):
                items = self._in_turn(call_id, message.attempt, message.seq)
                if items is None or error is None:
                    return items or []
                return [*items, Streamed(kind="broken", call_id=call_id, error=error)]

    def settle(self, event: Event) -> list[Streamed]:
        """An event of the run's log."""
        if event.type in TERMINAL_TYPES:
            return [Streamed(kind="ended", text=event.type.removeprefix("run_"), seq=event.seq)]
        if event.type not in ("step_completed", "step_failed") or b'"model"' not in bytes(event.data):
            return []
        data = decode_union(AnyData, event.data)
        if not isinstance(data, StepCompleted | StepFailed) or data.model is None:
            return []
        self._end(data.call_id)
        model = data.model.answered_by or data.model.model
        if isinstance(data, StepFailed):
            return [Streamed(kind="failed", call_id=data.call_id, error=data.error, model=model, seq=event.seq)]
        ref = None if data.result_ref is UNSET else data.result_ref
        text = "" if data.result is UNSET else text_of_answer(bytes(data.result))
        return [Streamed(kind="answered", call_id=data.call_id, text=text, model=model, seq=event.seq, ref=ref)]

    def _started(self, message: StreamStarted) -> list[Streamed]:
        known = self._calls.get(message.call_id)
        rank = (message.token.epoch, message.token.counter)
        if known is not None and (known.attempt == message.attempt or rank < known.rank):
            return []
        self._keep(message.call_id, _Call(attempt=message.attempt, rank=rank))
        kind: Kind = "started" if known is None and message.number == 1 else "restarted"
        return [Streamed(kind=kind, call_id=message.call_id, model=message.model, agent=message.agent)]

    def _pieces(self, message: StreamPieces) -> list[Streamed]:
        items = self._in_turn(message.call_id, message.attempt, message.seq)
        if items is None:
            return []
        call = self._calls[message.call_id]
        return [*items, *(_shown(message.call_id, call, piece) for piece in message.pieces)]

    def _in_turn(self, call_id: CallId, attempt: str, seq: int) -> list[Streamed] | None:
        """What is to be said before this message's own; None if it is not to be shown."""
        call = self._calls.get(call_id)
        if call is None:  # watching began in the middle
            self._keep(call_id, _Call(attempt=attempt, rank=(-1, -1), next_seq=seq + 1))
            return [Streamed(kind="started", call_id=call_id), Streamed(kind="gap", call_id=call_id)]
        if call.attempt != attempt or seq < call.next_seq:
            return None
        missing = seq > call.next_seq
        call.next_seq = seq + 1
        return [Streamed(kind="gap", call_id=call_id)] if missing else []

    def _keep(self, call_id: CallId, call: _Call) -> None:
        self._calls[call_id] = call
        while len(self._calls) > _MAX_CALLS:
            del self._calls[next(iter(self._calls))]

    def _end(self, call_id: CallId) -> None:
        self._calls.pop(call_id, None)
        self._over[call_id] = None
        while len(self._over) > _MAX_CALLS:
            self._over.popitem(last=False)


def text_of_answer(result: bytes) -> str:
    """The text of a recorded answer; "" for a result that is no `ModelResponse`."""
    try:
        return decode(ModelResponse, result).message.text
    except BadMessage:
        return ""


def _shown(call_id: CallId, call: _Call, piece: Piece) -> Streamed:
    if isinstance(piece, TextPiece):
        return Streamed(kind="text", call_id=call_id, text=piece.text)
    if piece.name:
        call.tools[piece.index] = piece.name
    return Streamed(kind="tool_use", call_id=call_id, tool=call.tools.get(piece.index, ""), index=piece.index, text=piece.arguments)


__all__ = ["Kind", "Preview", "Streamed", "text_of_answer"]
