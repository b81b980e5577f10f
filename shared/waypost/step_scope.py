"""What a running local step may know of its run: who it is for, how its run is limited, and where it may show what it is doing.

The worker gives every effect a scope before it starts it; `LocalEffect.run` makes it current for the step's own task. Whoever builds an
execution of a kind of its own gets that for nothing. Outside a worker (in a test, say) there is none, and nothing is shown to anybody.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from waypost_proto.ids import CallId, RunId
from waypost_proto.streams import Piece
from waypost_proto.values import Failure


class Shown(Protocol):
    """Where the pieces of one answer go while it arrives. Nothing here waits or raises, whoever reads or does not."""

    def begin(self, model: str, provider: str) -> None:
        """A request goes out. Again for the same step: what was shown of it before is void."""
        ...

    def piece(self, piece: Piece) -> None:
        """The next piece of the request that was begun last."""
        ...

    def end(self, error: Failure | None = None) -> None:
        """No more pieces come. Without `error` the answer is whole; it is final when its event is in the log. Idempotent."""
        ...


@dataclass(slots=True, kw_only=True)  # not frozen, which costs more than the rest of it: there is one in a step
class StepScope:
    """The surroundings of one local step.

    `metered`: tokens or cost of the run are limited. `cost_limited`: cost is, so that what has no price cannot be allowed.
    """

    run_id: RunId
    call_id: CallId
    agent: str = ""
    metered: bool = False
    cost_limited: bool = False
    show: Callable[[], Shown] | None = None
    """Opens the step's stream; None where nobody could read it."""


SCOPE: ContextVar[StepScope | None] = ContextVar("waypost_step_scope", default=None)
"""The scope of the step that the current task runs for."""


def current_scope() -> StepScope | None:
    """The scope of the running step; None outside a worker."""
    return SCOPE.get()


__all__ = ["SCOPE", "Shown", "StepScope", "current_scope"]
