"""One run's coroutine in memory. (Interface; the body follows.)"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from waypost.agents import Agent
from waypost.execution.effects import EffectResult, LocalEffect
from waypost_proto.commands import AnyItem
from waypost_proto.ids import RunId
from waypost_proto.values import BlobRef
from waypost_proto.work import Entry


def refs_of(entries: Sequence[Entry]) -> list[BlobRef]:
    """The large values of these entries that the code will need: fetch them and pass them as `blobs`."""
    raise NotImplementedError


class Execution:
    """One run of one agent: fed with journal entries, it answers with items (commands and local results).

    Every method is synchronous, runs the code until it waits, and must be called from the worker's thread, from a
    plain callback or from a task of the worker's own loop, never from inside the agent's code. None of them raises
    for what the agent's code does: that becomes `FailRun` or `ReportDivergence` items.

    `blobs` maps the SHA-256 of a claim-checked value to its bytes; a missing one raises `NotFound`.
    """

    seen: int
    """Seq of the last outside event that the code was given."""
    running: int
    """Local effects handed to `start_effect` and not yet finished."""
    finished: bool
    """The code has returned or raised: `CompleteRun` or `FailRun` is among the items, nothing more will come."""
    diverged: bool
    """Replay asked for something else than the journal holds; the only item is a `ReportDivergence`."""

    def __init__(
        self,
        agent: Agent[Any, Any],
        run_id: RunId,
        *,
        correlation_id: str = "",
        tenant: str = "default",
        steps_left: int | None = None,
        start_effect: Callable[[LocalEffect], None],
    ) -> None:
        """`start_effect` is called outside the deterministic loop, at the end of `feed`, `replay`, `finish_effect` or `grant`."""
        raise NotImplementedError

    def replay(self, journal: Sequence[Entry], seen: int, blobs: Mapping[str, bytes] | None = None) -> None:
        """Bring a new execution to where the journal ends. Call it at most once, before anything else.

        `journal` is every entry of `runs.journal` in log order, `seen` the coordinator's. Code runs again, effects do
        not: recorded local results are taken from the journal, and only what the journal does not hold becomes items
        (a tail that was never accepted). Local steps without a recorded result are started as effects. Outside
        events past `seen` are then fed like new ones.
        """
        raise NotImplementedError

    def feed(self, entries: Sequence[Entry], blobs: Mapping[str, bytes] | None = None) -> None:
        """Give the code new outside events, one after another, each until it is quiescent.

        Entries up to `seen` are skipped, so feeding twice has no effect.
        """
        raise NotImplementedError

    def finish_effect(self, result: EffectResult) -> None:
        """A local effect ended: its `FinishStep` item comes first, then the commands that it caused.

        The result of an effect that is no longer wanted is dropped.
        """
        raise NotImplementedError

    def grant(self, steps_left: int | None) -> None:
        """Replace the allowance (`Activation.steps_left`) and start the local steps that waited for it."""
        raise NotImplementedError

    def take_items(self) -> list[AnyItem]:
        """What is new since the last call, in order, each with its `seen`. Values are inline whatever their size."""
        raise NotImplementedError

    def close(self) -> None:
        """Mute and drop: no command, log line or effect comes from this run any more. Idempotent."""
        raise NotImplementedError
