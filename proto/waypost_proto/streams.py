"""What a model writes, as it arrives: on `waypost.stream.<run_id>` (core NATS), for whoever watches. Pure data.

Nothing here is a record: it may be lost, repeated or void. What counts is the `step_completed` event of the call. A reader shows the
newest attempt of a call and drops what it has of older ones:

    started  of an attempt that is not known, with a `token` that is not lower: what was shown of the call before is void (a retry after
             a failure, or another worker after a crash)
    pieces   with the `seq` that is next belong to what is shown; of another attempt: drop them; a gap in `seq`: something is missing
    ended    nothing more comes of this attempt
"""

from __future__ import annotations

from waypost_proto.ids import CallId, RunId
from waypost_proto.values import AtLeastOne, Count, Failure, Token, Value


class TextPiece(Value, tag_field="kind", tag="text", frozen=True, kw_only=True):
    """The next characters of the answer's text."""

    text: str


class ToolPiece(Value, tag_field="kind", tag="tool_use", frozen=True, kw_only=True):
    """The next characters of the arguments that the model writes for a tool. `name` comes with the first piece of each `index`."""

    index: Count
    name: str = ""
    arguments: str = ""


Piece = TextPiece | ToolPiece


class StreamStarted(Value, tag_field="type", tag="started", frozen=True, kw_only=True):
    """A request to a model has gone out for this call.

    `attempt` is unique for each request. `token` is that of the activation that its worker works on: a lower one is of a worker that
    was replaced. `number` counts the requests that this worker has made for the call.
    """

    run_id: RunId
    call_id: CallId
    attempt: str
    token: Token
    number: AtLeastOne = 1
    agent: str = ""
    worker: str = ""
    model: str = ""
    provider: str = ""
    at: float = 0.0
    """The worker's clock, Unix seconds."""


class StreamPieces(Value, tag_field="type", tag="pieces", frozen=True, kw_only=True):
    """What has arrived since the last message of this attempt; `seq` counts from 1 without a gap."""

    run_id: RunId
    call_id: CallId
    attempt: str
    seq: AtLeastOne
    pieces: list[Piece] = []


class StreamEnded(Value, tag_field="type", tag="ended", frozen=True, kw_only=True):
    """No more comes of this attempt. Without `error` the answer is whole, and is final once its event is in the log."""

    run_id: RunId
    call_id: CallId
    attempt: str
    seq: AtLeastOne
    error: Failure | None = None


AnyStreamed = StreamStarted | StreamPieces | StreamEnded

__all__ = ["AnyStreamed", "Piece", "StreamEnded", "StreamPieces", "StreamStarted", "TextPiece", "ToolPiece"]
