"""Whether a graph works or waits, as far as can be seen from outside of its nodes. Owns no task of the graph.

A graph waits when every node that runs waits for something that this run has asked for. Then nothing is kept for it: what it waits for
brings an activation. A node that waits for something else (a request of its own, a sleep) works. Between two things that happen within
a few turns of the event loop, nothing is told: what belongs together goes into one advance.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context

_TURNS = 40
"""Turns of the event loop that a graph gets to come to rest before what it asked for is told: LangGraph takes ten to twenty from the
end of a node to the beginning of the next."""


class Activity:
    """`settled` is called when the graph waits, or was not quiet for so long that what there is shall be told."""

    def __init__(self, settled: Callable[[], None], outer: Context) -> None:
        self.in_store = 0
        """Waits for the log to be stored: the graph goes on by itself, but not before what there is was told."""
        self._settled = settled
        self._outer = outer
        self._loop = asyncio.get_running_loop()
        self._open: dict[str, str] = {}
        self._waits: Counter[str] = Counter()
        self._turns = 0
        self._ticking = False
        self._given: set[str] = set()
        self.invoked = False
        """The graph runs: it was invoked and has not come back."""
        self.driven = False
        """Between two invocations: what goes on with the graph is at it, and does not wait for an answer."""

    # -- what happens

    def begin(self) -> None:
        """The graph is invoked."""
        self._open.clear()
        self.invoked = True
        self.stir()

    def end(self) -> None:
        """It has come back."""
        self._open.clear()
        self.invoked = False
        self.stir()

    def opened(self, task_id: str, namespace: str) -> None:
        """A node begins; `namespace` is that of its graph."""
        self._open[task_id] = namespace
        self.stir()

    def closed(self, task_id: str) -> None:
        """A node ended."""
        self._open.pop(task_id, None)
        self.stir()

    @contextmanager
    def waiting(self, task_id: str) -> Iterator[None]:
        """The node `task_id` waits for something that the run has asked for."""
        self._waits[task_id] += 1
        self.stir()
        try:
            yield
        finally:
            self._waits[task_id] -= 1
            if not self._waits[task_id]:
                del self._waits[task_id]
            self.stir()

    def given(self, call_id: str) -> None:
        """Who waits for this has got it, and goes on within a few turns: from now on it works, though it has not noticed yet.

        An advance that says otherwise would leave the run to nobody if this worker died now.
        """
        self._given.add(call_id)

    def taken(self, call_id: str) -> None:
        """It has noticed, or waits no more."""
        self._given.discard(call_id)

    def stir(self) -> None:
        """Something happened: look again when it has come to rest."""
        self._turns = _TURNS
        if not self._ticking:
            self._ticking = True
            self._loop.call_soon(self._tick, context=self._outer)

    # -- what is known

    @property
    def works(self) -> bool:
        """Code of the graph is under way that waits for nothing an activation would bring."""
        return not self._blocked() if self.invoked else self.driven

    @property
    def settling(self) -> bool:
        """Something happened just now: what there is shall not be told yet."""
        return self._ticking

    def _blocked(self) -> bool:
        if self.in_store or self._given or not self._open:
            return False
        parents = {segment.rpartition(":")[2] for namespace in self._open.values() for segment in namespace.split("|") if segment}
        return all(task_id in parents or self._waits.get(task_id) for task_id in self._open)

    def _tick(self) -> None:
        self._turns -= 1
        if self.in_store or not self.works or self._turns <= 0:
            self._ticking = False
            self._settled()
        else:
            self._loop.call_soon(self._tick, context=self._outer)


__all__ = ["Activity"]
