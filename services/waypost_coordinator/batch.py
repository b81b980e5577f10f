"""One batch: what a group commit writes, and what is published and answered after it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from waypost_coordinator.letters import Letter
from waypost_coordinator.live import LiveRun
from waypost_io.bus.ports import Outbound, PubAck
from waypost_io.store.ports import ApprovalRow, Commit, EventRow, InboxRow, NoticeRow, PermitRow, RunRow, TimerRow
from waypost_proto.events import Data
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import Reply
from waypost_proto.tools import ToolCall
from waypost_proto.work import Accepted, Rejected, Stop

TimerKey = tuple[RunId, str]


Queue = Literal["work", "tools", "events", ""]


@dataclass(slots=True)  # not frozen, which costs more than the rest of it: there are five in a step
class Outgoing(Outbound):
    """A publish to JetStream; `msg_id` is derived from the log, so that publishing it again is recognised (row 11)."""

    queue: Queue = ""
    """What goes to the same one is confirmed together; "" by itself."""
    call: tuple[RunId, CallId] | None = None
    """The call that it dispatches under a permit of this very batch."""
    early: bool = False
    """It may go out before the commit."""
    framed: bool = False
    """An activation that may share a message with others for the same worker."""


@dataclass(frozen=True, slots=True)
class Sending:
    """Messages that were published together, and their common confirmation."""

    messages: Sequence[Outgoing]
    confirmation: Awaitable[PubAck]


@dataclass(slots=True)
class Rows:
    """What the batch writes, keyed so that a later message of the same batch replaces what an earlier one wrote."""

    events: list[EventRow] = field(default_factory=list)
    runs: dict[RunId, RunRow] = field(default_factory=dict)
    timers: dict[TimerKey, TimerRow | None] = field(default_factory=dict)
    permits: dict[tuple[RunId, CallId], PermitRow] = field(default_factory=dict)
    approvals: dict[str, ApprovalRow] = field(default_factory=dict)
    inbox: dict[str, InboxRow] = field(default_factory=dict)
    notices: list[NoticeRow] = field(default_factory=list)
    revoke_runs: set[RunId] = field(default_factory=set)
    revoke_calls: set[tuple[RunId, CallId]] = field(default_factory=set)
    inbox_remove: list[str] = field(default_factory=list)

    def revoke(self, run_id: RunId, call_id: CallId | None) -> None:
        """Take back what this very batch was about to permit, and revoke what earlier ones did."""
        if call_id is None:
            self.permits = {key: row for key, row in self.permits.items() if key[0] != run_id}
            self.revoke_runs.add(run_id)
        else:
            self.permits.pop((run_id, call_id), None)
            self.revoke_calls.add((run_id, call_id))

    def commit(self, owner: str, leases: list[tuple[int, int, int, int]]) -> Commit:
        return Commit(
            owner=owner,
            leases=leases,
            events=self.events,
            runs=list(self.runs.values()),
            set_timers=[timer for timer in self.timers.values() if timer is not None],
            clear_timers=[key for key, timer in self.timers.items() if timer is None],
            permits=list(self.permits.values()),
            revoke_runs=list(self.revoke_runs),
            revoke_calls=list(self.revoke_calls),
            approvals=list(self.approvals.values()),
            inbox_add=list(self.inbox.values()),
            inbox_remove=self.inbox_remove,
            notices=self.notices,
        )

    def empty(self) -> bool:
        return not (self.events or self.runs or self.timers or self.inbox_remove or self.inbox or self.revoke_runs or self.revoke_calls)


class Told(NamedTuple):
    """An event that says something to metrics and step lines, its run and its time (Unix seconds)."""

    live: LiveRun
    at: float
    data: Data


@dataclass(slots=True)
class Batch:
    """A decided batch on its way through commit, publish and ack."""

    letters: list[Letter]
    rows: Rows = field(default_factory=Rows)
    outgoing: list[Outgoing] = field(default_factory=list)
    replies: list[tuple[Letter, Reply]] = field(default_factory=list)
    accepted: dict[str, list[Accepted]] = field(default_factory=dict)
    rejected: dict[str, list[Rejected]] = field(default_factory=dict)
    stops: list[Stop] = field(default_factory=list)
    local_mail: list[Letter] = field(default_factory=list)
    hydrate: list[tuple[ToolCall, int, str, bytes]] = field(default_factory=list)
    """Tool calls whose arguments must be read from the log first: (message, seq of the event that has them, message id)."""
    sent: list[Sending] = field(default_factory=list)
    """What went out before the commit."""
    connection: int = 0
    """The `Lately.connection` when that was."""
    positions: dict[int, int] = field(default_factory=dict)
    """Last position of this batch by partition."""
    deriving: frozenset[int] = frozenset()
    """Partitions of which something older than this batch is still to be put on the road: their published position stays behind it."""
    touched: set[RunId] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    """Events that are measured once they are committed."""

    def revoke(self, run_id: RunId, call_id: CallId | None) -> None:
        """Revoke permits, and send nothing whose permit would have come with this batch: a gateway would find none and fail the call."""
        self.rows.revoke(run_id, call_id)
        self.outgoing = [out for out in self.outgoing if not _of(out.call, run_id, call_id)]
        self.hydrate = [each for each in self.hydrate if not _of(_permitted(each[0]), run_id, call_id)]


def _permitted(call: ToolCall) -> tuple[RunId, CallId] | None:
    """The call that is executed under a permit; whoever only asks what became of one needs none."""
    return (call.run_id, call.call_id) if call.permit and call.mode == "execute" else None


def _of(call: tuple[RunId, CallId] | None, run_id: RunId, call_id: CallId | None) -> bool:
    return call is not None and call[0] == run_id and call_id in (None, call[1])
