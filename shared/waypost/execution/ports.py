"""What a worker asks of any kind of agent in memory. Contracts only, no behaviour."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from waypost.execution.effects import EffectResult, LocalEffect
from waypost_proto.commands import AnyItem
from waypost_proto.ids import CallId, RunId
from waypost_proto.streams import GraphPart
from waypost_proto.values import Failure
from waypost_proto.work import Entry


def _nothing() -> None:
    return None


class GraphShown(Protocol):
    """Where what a graph shows goes while it runs. Nothing here waits or raises, whoever reads or does not."""

    def begin(self, checkpoints: Mapping[str, str]) -> None:
        """The graph is begun or gone on with at these checkpoints: what was shown since them is void."""
        ...

    def part(self, part: GraphPart) -> None:
        """The next thing."""
        ...

    def end(self, error: Failure | None = None) -> None:
        """The graph has come back. Idempotent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """What an execution is made with."""

    run_id: RunId
    start_effect: Callable[[LocalEffect], None]
    """Takes a local effect to run; it is ended with `AgentExecution.finish_effect`. Called at the end of a method, never in user code."""
    changed: Callable[[], None] = _nothing
    """Tells that `take_items` or `running` has something new though no method was called: for code that runs beside. Called from the
    worker's event loop; cheap, and harmless when nothing is new."""
    correlation_id: str = ""
    tenant: str = "default"
    steps_left: int | None = None
    """Steps that may begin before the coordinator is asked; None: no limit."""
    graph_shown: Callable[[], GraphShown] | None = None
    """Opens where people can watch what a graph shows; None where nobody could."""


class AgentExecution(Protocol):
    """One run of one agent: fed with journal entries, it answers with items (commands and local results).

    Every method is synchronous and must be called from the worker's thread, on its event loop, never from inside the agent's code.
    None of them raises for what the agent's code does: that becomes `FailRun` or `ReportDivergence` items. `blobs` maps the SHA-256 of
    a claim-checked value to its bytes (`refs_of` says which); a missing one raises `NotFound` before anything else happened.
    """

    finished: bool
    """It has ended: `CompleteRun` or `FailRun` is among the items, nothing more will come."""
    diverged: bool
    """The journal cannot be continued by this definition; the only item is a `ReportDivergence`."""

    @property
    def seen(self) -> int:
        """Seq of the last outside event that it was given."""
        ...

    @property
    def running(self) -> int:
        """Local effects handed to `start_effect` and not yet finished, and code of its own that is under way and waits for nothing
        that an activation would bring. While it is not 0 the worker keeps the run's activation."""
        ...

    def replay(self, journal: Sequence[Entry], seen: int, blobs: Mapping[str, bytes] | None = None) -> None:
        """Bring a new execution to where the journal ends. At most once, before anything else; no recorded effect runs again."""
        ...

    def feed(self, entries: Sequence[Entry], blobs: Mapping[str, bytes] | None = None) -> None:
        """New outside events. Entries up to `seen` are skipped, so feeding twice has no effect."""
        ...

    def finish_effect(self, result: EffectResult) -> None:
        """A local effect ended. Finishing one twice has no effect; nor has one that is no longer wanted."""
        ...

    def metered(self, metered: bool, unfunded: Sequence[CallId] = ()) -> None:
        """Whether steps that reserve tokens or cost must ask, and which local steps do not fit yet."""
        ...

    def grant(self, steps_left: int | None) -> None:
        """Replace the allowance and start the local steps that asked for one; only when the coordinator has counted all that was taken."""
        ...

    def take_items(self) -> list[AnyItem]:
        """What is new since the last call, in order, each with its `seen`. Values are inline whatever their size.

        It is called again only when what it gave before is stored: what builds on that may then begin.
        """
        ...

    def close(self) -> None:
        """Mute and drop: no command, log line or effect comes from this run any more. Idempotent."""
        ...


__all__ = ["AgentExecution", "Beginning", "GraphShown"]
