"""What the API asks of the coordinator it runs in: `Commands` to change a run, `Directory` to know who hosts what."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from waypost_coordinator.api.belonging import Belongings
from waypost_coordinator.api.queues import Queues
from waypost_coordinator.callers import NOBODY, Caller, Gatekeeper
from waypost_io.bus.ports import Bus
from waypost_io.store.ports import Store
from waypost_proto.api import AgentView, RedispatchAnswer, ToolView
from waypost_proto.ids import RunId
from waypost_proto.mailbox import AnyControl, Reply
from waypost_proto.subjects import Subjects


class Commands(Protocol):
    """The way into the coordinator's shell."""

    async def submit(self, mail: AnyControl) -> Reply:
        """Route `mail` to the replica that owns its run, wait for the commit, and return what was decided.

        Never raises for a decision: that is `Reply.ok False` with a `code`. Raises `NotConfirmed` when the commit was not
        confirmed in time (it may still be applied) and `Unreachable` when the mail could not be sent. Sending the same
        mail again has no further effect: `request_id` (or the run id of a `StartRun`) is its key.
        """
        ...

    async def redispatch(self, run_id: RunId | None) -> RedispatchAnswer:
        """Derive outstanding work again for one run, or for all of every replica. Idempotent in effect. Raises `NotFound`."""
        ...


class Directory(Protocol):
    """Who hosts what, as this replica sees it (`registry.Registry`)."""

    def agent_views(self) -> list[AgentView]:
        """The current definition of every agent with its live workers, by name."""
        ...

    def tool_views(self) -> list[ToolView]:
        """Every tool with its live gateways, by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Everything an endpoint may touch. `clock` is Unix seconds; it only goes into new run ids and sentences for people.

    `caller` is who asks, in the copy that each request gets.
    """

    store: Store
    commands: Commands
    directory: Directory
    bus: Bus
    subjects: Subjects
    clock: Callable[[], float] = time.time
    gate: Gatekeeper | None = None
    """None: nobody is authenticated, and everybody's word is taken."""
    caller: Caller = NOBODY
    belongings: Belongings = field(default_factory=Belongings)
    queues: Queues = field(default_factory=Queues)
