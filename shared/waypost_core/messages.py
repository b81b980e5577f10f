"""What the shell itself tells a run; these never travel on the wire. With the wire's mail they make up what `decide` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from waypost_core.tape import Tape
from waypost_proto.ids import CallId
from waypost_proto.mailbox import AnyMail
from waypost_proto.registry import AgentDefinition, ToolDefinition

if TYPE_CHECKING:
    from waypost_core.drafting import Draft


class TimersDue(Struct, frozen=True):
    """Timers of the run that are due by the database's clock."""

    timer_ids: tuple[str, ...]


class PermitState(Struct, frozen=True):
    """A ledger row after a revocation: only `revoked` means that the call surely does not take effect any more."""

    call_id: CallId
    attempt: int
    state: Literal["permitted", "started", "done", "failed", "doubt", "revoked"]


class PermitsRevoked(Struct, frozen=True):
    """What a revocation found. Idempotent: what is settled already is skipped."""

    permits: tuple[PermitState, ...]


class HostFound(Struct, frozen=True):
    """A worker or gateway announced something new: look at what is held. Idempotent."""


AnyMessage = AnyMail | TimersDue | PermitsRevoked | HostFound


class Env(Struct, frozen=True, kw_only=True):
    """What `decide` may know besides state and message.

    `now` is Unix seconds by the database's clock, `jitter` a random number in [0, 1). `tools` is by name, `agents` by name (the
    current build) and by `name@build`.
    """

    now: float
    jitter: float = 0.0
    tools: dict[str, ToolDefinition] = {}
    agents: dict[str, AgentDefinition] = {}
    draft: Draft | None = None
    """For `ForkRun`: what it begins with; None or empty when there is no such run."""
    tape: Tape | None = None
    """Of a fork that does not go live: what its source was answered."""

    def agent(self, name: str, build: str = "") -> AgentDefinition | None:
        """The definition of a build, or the current one."""
        return self.agents.get(f"{name}@{build}") or self.agents.get(name)
