"""From decided events to the bytes and rows that are stored. Each event is encoded once; those bytes are stored and published."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw

from waypost_core.state import STATE_VERSION, RunState, encode_state
from waypost_io.store.ports import EventRow, RunRow
from waypost_proto.codec import decode, encode
from waypost_proto.events import Data, Event
from waypost_proto.forks import Recalled
from waypost_proto.ids import RunId
from waypost_proto.task import format_time, parse_time
from waypost_proto.values import BlobRef, Failure
from waypost_proto.work import Entry


class _Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a run ended, in the read model."""

    result: Raw | msgspec.UnsetType = UNSET
    result_ref: BlobRef | msgspec.UnsetType = UNSET
    error: Failure | None = None


class _Repeats(msgspec.Struct, frozen=True):
    """The one field of an event's data that is read here."""

    recalled: Recalled | None = None


class Stamp:
    """A moment, formatted once for all events of a batch."""

    __slots__ = ("at", "text")

    def __init__(self, at: float) -> None:
        self.at = round(at, 6)  # as the log has it: the state that is folded from the log must be the live one
        self.text = format_time(self.at)

    def not_before(self, at: float) -> Stamp:
        """This moment, or `at` if that is later: `recorded_at` never runs backwards within a run."""
        return self if at <= self.at else Stamp(at)


def event_row(state: RunState, data: Data, *, stamp: Stamp, partition: int, position: int, cause: str) -> tuple[EventRow, Entry]:
    """The event that follows `state`, as stored, and as a journal entry that shares its bytes."""
    raw = Raw(encode(data))
    seq, kind = state.seq + 1, type(data).__struct_config__.tag
    assert isinstance(kind, str)
    body = encode(
        Event(
            run_id=state.run_id,
            seq=seq,
            type=kind,
            agent=state.agent,
            correlation_id=state.correlation_id,
            recorded_at=stamp.text,
            tenant=state.tenant,
            cause=cause,
            data=raw,
        )
    )
    row = EventRow(state.run_id, seq, kind, partition, position, stamp.at, body, cause)
    recalled = getattr(data, "recalled", None)  # a fork's code is told when its source was told
    return row, Entry(seq=seq, type=kind, at=stamp.at if recalled is None else recalled.at, data=raw)


def copied_body(event: Event) -> bytes:
    """The stored bytes of an event that a fork begins with: `event` names the fork, the rest is its source's."""
    return encode(event)


def entry_of(event: Event) -> Entry:
    """The journal entry of a stored event."""
    at = None
    if b'"recalled":' in bytes(event.data):
        recalled = decode(_Repeats, event.data).recalled
        at = None if recalled is None else recalled.at
    return Entry(seq=event.seq, type=event.type, at=parse_time(event.recorded_at) if at is None else at, data=event.data)


def run_row(state: RunState, *, partition: int, unhosted: bool) -> RunRow:
    """The read model of a run with its folded state."""
    parent: RunId | None = state.parent.run_id if state.parent is not None else None
    outcome = None
    if state.terminal:
        outcome = encode(_Outcome(result=state.result, result_ref=state.result_ref, error=state.error))
    return RunRow(
        run_id=state.run_id,
        partition=partition,
        tenant=state.tenant,
        agent=state.agent,
        build=state.build,
        status=state.status.value,
        open=not state.terminal,
        held=not state.terminal and (unhosted or state.held > 0),
        worker=state.worker,
        seq=state.seq,
        created_at=state.started_at,
        updated_at=state.recorded_at,
        deadline_at=state.deadline_at,
        parent=parent,
        correlation_id=state.correlation_id,
        idempotency_key=state.idempotency_key,
        labels=state.labels,
        state=encode_state(state),
        state_version=STATE_VERSION,
        outcome=outcome,
    )
