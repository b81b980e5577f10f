"""Which events say something to a trace, and how they are read: one pass over the stored bytes, envelope and data together."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

import msgspec

from waypost_proto import events as ev
from waypost_proto.errors import BadMessage

D = TypeVar("D", bound=ev.Data)


class Stored(msgspec.Struct, Generic[D], frozen=True):
    """What a trace needs of an event's bytes; who runs is read of `run_started` alone."""

    data: D


class StoredStart(msgspec.Struct, frozen=True):
    """`run_started` with its envelope."""

    agent: str
    correlation_id: str
    data: ev.RunStarted
    tenant: str = "default"


_KINDS: tuple[type[ev.Data], ...] = (
    ev.RunAdvanced, ev.StepCompleted, ev.StepFailed, ev.StepRequested, ev.ToolCallRequested, ev.ToolCallDispatched, ev.ToolAttemptFailed,
    ev.ToolCallDeferred, ev.ToolCallCompleted, ev.ToolCallFailed, ev.ToolCallInDoubt, ev.ToolCallCancelRequested, ev.ToolCallCancelled,
    ev.ChildRequested, ev.ChildCompleted, ev.ChildFailed, ev.ChildCancelRequested, ev.TimerStarted, ev.TimerFired, ev.TimerCancelled,
    ev.SignalAwaited, ev.SignalWaitCancelled, ev.SignalReceived, ev.StateChanged, ev.ApprovalRequested, ev.ApprovalGiven, ev.ApprovalEdited,
    ev.ApprovalEscalated, ev.ApprovalGranted, ev.ApprovalDenied, ev.ApprovalExpired, ev.QuestionAsked, ev.QuestionAnswered,
    ev.QuestionUnanswered, ev.QuestionWithdrawn, ev.BreakerTripped, ev.RunPaused, ev.RunResumed, ev.RunEnding, ev.RunCompleted,
    ev.RunFailed, ev.RunCancelled, ev.CallFunded, ev.LimitWarning,
    ev.DeadlineNear, ev.LoopDetected, ev.NoticeEscalated, ev.InstructionAdded,
)  # fmt: skip

_START: Final = msgspec.json.Decoder(StoredStart)
DECODERS: Final = {str(kind.__struct_config__.tag): msgspec.json.Decoder(Stored[kind]) for kind in _KINDS}  # type: ignore[valid-type]
"""By type of event; those that say nothing to a trace (types of a newer version too) are not here."""
TYPES: Final = {str(kind.__struct_config__.tag): kind for kind in _KINDS}


def read_start(body: bytes) -> StoredStart:
    """Raises `BadMessage`."""
    try:
        return _START.decode(body)
    except msgspec.DecodeError as error:
        raise BadMessage(f"not a valid run_started: {error}") from error
