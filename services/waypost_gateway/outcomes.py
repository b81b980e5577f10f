"""What is to be done with a message in hand, once it is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answered:
    """Publish `body`, then ack. `name` is the outcome in metrics and logs."""

    body: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Ack; nobody waits for an answer."""

    why: str


@dataclass(frozen=True, slots=True)
class Left:
    """Neither: the message comes again after the ack wait, or at once elsewhere when this gateway stops."""

    why: str


Outcome = Answered | Ignored | Left

UNSETTLED = frozenset({"ignored", "refused", "denied", "needs_approval", "deferred"})
"""Outcomes that are true of one message only: the tool was not asked, the ledger keeps no answer, and the next message of the same call may
bring what was missing."""

ASKED_AGAIN = UNSETTLED | {"unknown"}
"""After these the next message of the same call is handled too. A hook that cannot tell has settled nothing either: its coordinator asks
again after a while, and waits for the answer to that message."""
