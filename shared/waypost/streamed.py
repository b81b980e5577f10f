"""What models and graphs write, as whoever watches a run sees it: `Client.stream` gives `Streamed` items. Pure: messages in, items out.

The pieces are a preview. Each call ends with `answered`, whose text is the recorded answer: it replaces all pieces of the call, and it
comes once, whatever was lost or repeated before. What a graph shows becomes final by `graph_saved`, and void by `graph_restarted`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from msgspec import UNSET, Raw, Struct

from waypost.models.messages import ModelResponse
from waypost_proto.codec import decode, decode_union
from waypost_proto.errors import BadMessage
from waypost_proto.events import TERMINAL_TYPES, AnyData, CheckpointSaved, Event, StepCompleted, StepFailed
from waypost_proto.ids import CallId
from waypost_proto.streams import (
    AnyGraphStreamed,
    AnyStreamed,
    GraphEnded,
    GraphPart,
    GraphParts,
    GraphStarted,
    Piece,
    StreamEnded,
    StreamPieces,
    StreamStarted,
    TextPiece,
)
from waypost_proto.values import BlobRef, Failure

Kind = Literal[
    "started",
    "restarted",
    "text",
    "tool_use",
    "gap",
    "broken",
    "answered",
    "failed",
    "graph_started",
    "graph_restarted",
    "graph",
    "graph_saved",
    "ended",
]
_MAX_CALLS = 10_000
"""Calls that are remembered, so that nothing of them is shown after their answer."""


class Streamed(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to show. `seq` is that of the event, for `answered`, `failed`, `graph_saved` and `ended`.

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
    | `graph_started` | a graph begins |
    | `graph_restarted` | it goes on from `checkpoints`: what it `voids` is void |
    | `graph` | what the graph shows in `mode`: JSON `data`, or why it is `omitted` |
    | `graph_saved` | a `checkpoint` of `namespace` is recorded: what it `settles` is final |
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
    mode: str = ""
    """LangGraph's: `updates`, `values`, `custom`, `tasks`, `checkpoints`, `debug`."""
    namespace: tuple[str, ...] = ()
    """Which graph within the run's graph; () is the run's own."""
    data: Raw | None = None
    omitted: str = ""
    checkpoint: str = ""
    """Of `graph`: the newest before it. Of `graph_saved`: itself."""
    checkpoints: dict[str, str] = {}
    """Of `graph_restarted`, by namespace."""
    final: bool = False
    """Of `graph`: the checkpoint after it was recorded before it came here."""

    def settles(self, shown: Streamed) -> bool:
        """Whether this `graph_saved` makes an earlier `graph` item final: it was shown before this checkpoint, in its graph or within."""
        return shown.kind == "graph" and shown.namespace[: len(self.namespace)] == self.namespace and shown.checkpoint < self.checkpoint

    def voids(self, shown: Streamed) -> bool:
        """Whether this `graph_restarted` makes an earlier `graph` item void: it was not followed by a recorded checkpoint."""
        if shown.kind != "graph":
            return False
        around = ("|".join(shown.namespace[:end]) for end in range(len(shown.namespace), -1, -1))
        return shown.checkpoint >= next((self.checkpoints[name] for name in around if name in self.checkpoints), "")


class _Graph(Struct):
    attempt: str
    rank: tuple[int, int]
    next_seq: int = 1


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
        self._graph: _Graph | None = None
        self._saved: dict[tuple[str, ...], str] = {}

    def take(self, message: AnyStreamed) -> list[Streamed]:
        """A message from the stream."""
        if isinstance(message, GraphStarted | GraphParts | GraphEnded):
            return self._of_graph(message)
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
        if event.type == "checkpoint_saved":
            return self._settle_graph(event)
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

    def _of_graph(self, message: AnyGraphStreamed) -> list[Streamed]:
        graph = self._graph
        if isinstance(message, GraphStarted):
            rank = (message.token.epoch, message.token.counter)
            if graph is not None and (graph.attempt == message.attempt or rank < graph.rank):
                return []
            self._graph = _Graph(attempt=message.attempt, rank=rank)
            kind: Kind = "graph_started" if graph is None and not message.checkpoints else "graph_restarted"
            return [Streamed(kind=kind, agent=message.agent, checkpoints=message.checkpoints)]
        items: list[Streamed] = []
        if graph is None:  # watching began in the middle
            graph = self._graph = _Graph(attempt=message.attempt, rank=(-1, -1), next_seq=message.seq)
            items = [Streamed(kind="graph_started"), Streamed(kind="gap")]
        elif graph.attempt != message.attempt or message.seq < graph.next_seq:
            return []
        elif message.seq > graph.next_seq:
            items = [Streamed(kind="gap")]
        graph.next_seq = message.seq + 1
        if isinstance(message, GraphParts):
            return [*items, *map(self._part, message.parts)]
        return [*items, Streamed(kind="broken", error=message.error)] if message.error is not None else items

    def _part(self, part: GraphPart) -> Streamed:
        namespace = tuple(part.namespace)
        around = (self._saved.get(namespace[:end], "") for end in range(len(namespace) + 1))
        return Streamed(
            kind="graph",
            mode=part.mode,
            namespace=namespace,
            checkpoint=part.checkpoint,
            data=None if part.data is UNSET else part.data,
            omitted=part.omitted,
            final=max(around) > part.checkpoint,
        )

    def _settle_graph(self, event: Event) -> list[Streamed]:
        """A checkpoint: of interest once something of the graph was shown."""
        if self._graph is None:
            return []
        data = decode_union(AnyData, event.data)
        if not isinstance(data, CheckpointSaved) or not data.checkpoint:
            return []
        namespace = tuple(data.namespace.split("|")) if data.namespace else ()
        self._saved[namespace] = max(self._saved.pop(namespace, ""), data.checkpoint)
        while len(self._saved) > _MAX_CALLS:
            del self._saved[next(iter(self._saved))]
        return [Streamed(kind="graph_saved", namespace=namespace, checkpoint=data.checkpoint, seq=event.seq)]

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


class _Block(Struct, frozen=True):
    type: str = ""
    text: str = ""


class _Data(Struct, frozen=True):
    content: str | list[str | _Block] = ""


class _Message(Struct, frozen=True):
    data: _Data = _Data()


class _Generation(Struct, frozen=True):
    message: _Message


class _Generations(Struct, frozen=True):
    """An answer that a graph's node got from a LangChain model, as `waypost.langgraph` records it."""

    generations: list[_Generation]


def text_of_answer(result: bytes) -> str:
    """The text of a recorded answer; "" for a result that is none."""
    try:
        return decode(ModelResponse, result).message.text
    except BadMessage:
        pass
    try:
        found = decode(_Generations, result).generations
    except BadMessage:
        return ""
    content = found[0].message.data.content if found else ""
    if isinstance(content, str):
        return content
    return "".join(block if isinstance(block, str) else block.text for block in content)


def _shown(call_id: CallId, call: _Call, piece: Piece) -> Streamed:
    if isinstance(piece, TextPiece):
        return Streamed(kind="text", call_id=call_id, text=piece.text)
    if piece.name:
        call.tools[piece.index] = piece.name
    return Streamed(kind="tool_use", call_id=call_id, tool=call.tools.get(piece.index, ""), index=piece.index, text=piece.arguments)


__all__ = ["Kind", "Preview", "Streamed", "text_of_answer"]
