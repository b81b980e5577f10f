"""What a model or a graph writes, as it arrives: on `waypost.stream.<run_id>` (core NATS), for whoever watches. Pure data.

Nothing here is a record: it may be lost, repeated or void. What counts is the `step_completed` event of the call, and of a graph its
`checkpoint_saved`. A reader shows the newest attempt of a call and drops what it has of older ones:

    started  of an attempt that is not known, with a `token` that is not lower: what was shown of the call before is void (a retry after
             a failure, or another worker after a crash)
    pieces   with the `seq` that is next belong to what is shown; of another attempt: drop them; a gap in `seq`: something is missing
    ended    nothing more comes of this attempt

What a graph shows is in the same way of attempts, each from when the graph is begun or gone on with until it comes back. A part names
the checkpoint that the log had before it. It is final when a later checkpoint of its graph, or of one around it, is in the log, and void
when an attempt begins at that checkpoint or an earlier one.
"""

from __future__ import annotations

from msgspec import UNSET, Raw, UnsetType

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


class GraphStarted(Value, tag_field="type", tag="graph_started", frozen=True, kw_only=True):
    """A graph is begun, or gone on with: after an interrupt, a crash, or by another worker.

    `attempt` and `token` are as in `StreamStarted`. `checkpoints` are the newest that are recorded, by namespace ("" is the run's own
    graph, others are of graphs within it that had begun since): what was shown of the run with one of these, or an earlier one, is void
    and comes again as far as it is done again.
    """

    run_id: RunId
    attempt: str
    token: Token
    checkpoints: dict[str, str] = {}
    agent: str = ""
    worker: str = ""
    at: float = 0.0
    """The worker's clock, Unix seconds."""


class GraphPart(Value, frozen=True, kw_only=True):
    """One thing that a graph shows. `mode` is LangGraph's: `updates`, `values`, `custom`, `tasks`, `checkpoints`, `debug`.

    `namespace` leads to the graph within the run's graph that shows it, `checkpoint` is the newest one before it of that graph or, where it
    has none, of the nearest around it. `omitted` says why there is no `data`.
    """

    mode: str
    namespace: list[str] = []
    checkpoint: str = ""
    data: Raw | UnsetType = UNSET
    omitted: str = ""


class GraphParts(Value, tag_field="type", tag="graph_parts", frozen=True, kw_only=True):
    """What the graph has shown since the last message of this attempt; `seq` counts from 1 without a gap."""

    run_id: RunId
    attempt: str
    seq: AtLeastOne
    parts: list[GraphPart] = []


class GraphEnded(Value, tag_field="type", tag="graph_ended", frozen=True, kw_only=True):
    """The graph has come back: it is through, waits for an answer, or failed with `error`. No more comes of this attempt."""

    run_id: RunId
    attempt: str
    seq: AtLeastOne
    error: Failure | None = None


AnyGraphStreamed = GraphStarted | GraphParts | GraphEnded
AnyStreamed = StreamStarted | StreamPieces | StreamEnded | AnyGraphStreamed

__all__ = [
    "AnyGraphStreamed",
    "AnyStreamed",
    "GraphEnded",
    "GraphPart",
    "GraphParts",
    "GraphStarted",
    "Piece",
    "StreamEnded",
    "StreamPieces",
    "StreamStarted",
    "TextPiece",
    "ToolPiece",
]
