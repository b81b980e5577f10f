"""What `decide` returns, and how the pieces of a decision are put together. Owns no rule about runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from waypost_core.effects import AnyEffect
from waypost_proto.events import Data, Event
from waypost_proto.ids import RunId
from waypost_proto.mailbox import Reply
from waypost_proto.values import RunStatus


@dataclass(slots=True)
class Decision:
    """Events to append, in order; an answer for whoever waits; effects that follow from the message and not from an event.

    `cause` is recorded on the first event, and makes a repeat of the message recognisable. `accepted` and `rejected` are for the
    worker that sent an advance: the digest it led to, or why it does not fit.
    """

    events: list[Data] = field(default_factory=list)
    reply: Reply | None = None
    effects: list[AnyEffect] = field(default_factory=list)
    cause: str = ""
    accepted: tuple[str, int] | None = None
    rejected: str = ""
    history: Sequence[Event] = ()
    """Events of another run that a fork begins with, before `events`; the first of them is its own."""
    look: bool = False
    """Somebody waits for budget, or a limit is near: `leases.follow_up` is to look."""


def refused(run_id: RunId, code: str, message: str, status: RunStatus | None = None) -> Decision:
    """Nothing happens, and the caller is told why."""
    return Decision(reply=Reply(run_id=run_id, ok=False, code=code, message=message, status=status))


def done(run_id: RunId, events: list[Data], *, cause: str = "", duplicate: bool = False) -> Decision:
    """The events happen, and the caller is told so; the shell fills in the status after them."""
    return Decision(events=events, cause=cause, reply=Reply(run_id=run_id, ok=True, duplicate=duplicate))
