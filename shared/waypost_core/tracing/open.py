"""What a trace remembers of something that has begun and not ended. Owned and changed by the fold."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from waypost_core.tracing.spans import Attributes
from waypost_proto.ids import CallId, RunId


class Wait(Struct, kw_only=True):
    """A wait that began with event `seq`. `parent` is the span id it lies under; b"": the run's."""

    what: str
    seq: int
    start_us: int
    parent: bytes = b""
    attributes: Attributes = field(default_factory=dict)


class Call(Struct):
    """An open call. `attempt_us` is when its current attempt was sent, 0 while none is under way; `because` names the model call
    that chose it."""

    kind: Literal["tool", "child"]
    seq: int
    name: str
    start_us: int
    attributes: Attributes
    because: CallId | None = None
    span: bytes = b""
    parent: bytes = b""
    attempt: int = 1
    attempt_us: int = 0
    reconcile: tuple[int, int] | None = None
    """(seq, time) of the dispatch that asks whether the effect took place."""
    unsent: bool = False
    """It would have been sent, but the run is paused."""
    unfunded: bool = False
    child: RunId | None = None


class Reasoning(Struct, kw_only=True):
    """A model call and what it chose. `open` counts the chosen calls that have not ended."""

    seq: int
    start_us: int
    end_us: int
    model: str
    intent: str = ""
    error: str | None = None
    open: int = 0
    calls: int = 0
    tools: list[str] = field(default_factory=list)
    closed: bool = False


class Activation(Struct):
    """One delivery of the run to a worker: everything up to event `seq`."""

    seq: int
    start_us: int
    worker: str = ""
    build: str = ""
    span: bytes = b""
    """Its id, once it is answered: until then the event may change."""
