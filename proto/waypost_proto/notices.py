"""What people are told: supervisor notices and dead letters."""

from __future__ import annotations

from typing import Literal

from waypost_proto.ids import RunId
from waypost_proto.usage import Usage
from waypost_proto.values import Budget, Value

DEAD_REASON_HEADER = "Waypost-Reason"
DEAD_ORIGIN_HEADER = "Waypost-Origin-Subject"
DEAD_STREAM_HEADER = "Waypost-Origin-Stream"
DEAD_SEQUENCE_HEADER = "Waypost-Origin-Sequence"
DEAD_ID_HEADER = "Waypost-Dead-Id"
"""A dead letter's body is the original bytes; everything about it is in headers and in a row of `dead`."""


class Action(Value, frozen=True, kw_only=True):
    """Something that can be done about a notice, as a command line that can be pasted."""

    label: str
    command: str


class Notice(Value, frozen=True, kw_only=True):
    """To `waypost.supervisor.<agent>`: why, which run, what can be done. `notice_id` is the same on every delivery."""

    notice_id: str
    run_id: RunId
    agent: str
    why: Literal["paused", "in_doubt", "approval", "deadline", "failed", "held", "limit"]
    message: str
    at: str
    actions: list[Action] = []
    links: dict[str, str] = {}
    level: int = 0
    """0 at first; the level of the ladder when nobody acted on it."""
    to: str = ""
    limits: Budget | None = None
    usage: Usage | None = None
