"""The local steps of one run: which wait for allowance, which run, which the code no longer wants. Starts nothing itself
before `flush`, because the worker's callback must not be called while the agent's code runs.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Any

from waypost.execution.effects import LocalEffect
from waypost_proto.ids import CallId


class LocalSteps:
    """`left` is what may still be spent before asking (None: no limit); `request` issues a `RequestStep`.

    While the run is `metered`, a step that reserves tokens or cost asks whatever is left. Steps in `unfunded` have asked, and the
    coordinator has said that they do not fit yet. Who waits for a step (a future, or any
    mark) is kept with it and given back by `settle`.
    """

    def __init__(self, left: int | None, request: Callable[[LocalEffect], None]) -> None:
        self.left = left
        self.metered = False
        self.unfunded: frozenset[CallId] = frozenset()
        self._request = request
        self._futures: dict[CallId, Any] = {}
        self._held: dict[CallId, LocalEffect] = {}
        self._waiting: dict[CallId, LocalEffect] = {}
        self._to_start: dict[CallId, LocalEffect] = {}
        self._to_drop: list[LocalEffect] = []
        self._running: dict[CallId, LocalEffect] = {}
        self._requested: set[CallId] = set()
        self._unsent: set[CallId] = set()
        """Requested since the items were taken last: no coordinator can have counted them."""

    @property
    def running(self) -> int:
        """Effects handed out and not yet finished, wanted or not."""
        return len(self._running)

    def taken(self) -> None:
        """All requests so far are on their way, in the digest that an activation must be based on to grant them."""
        self._unsent.clear()

    def spend(self) -> None:
        """A tool call or child run takes from the same allowance; the coordinator holds it back if there is none."""
        if self.left:
            self.left -= 1

    def hold(self, effect: LocalEffect, future: Any) -> None:
        """During replay: the journal may have the result. `release` starts what it did not have."""
        self._futures[effect.call_id] = future
        self._held[effect.call_id] = effect

    def release(self, requested: Mapping[CallId, int]) -> None:
        """Replay is through. What the coordinator counted when it was `requested` is not counted again.

        A step with a reservation asks again all the same: another worker may have begun it, and paid for it.
        """
        held, self._held = self._held, {}
        for call_id, effect in held.items():
            if call_id in requested:
                self._requested.add(call_id)
                if call_id in self.unfunded:
                    self._waiting[call_id] = effect
                elif effect.reserve is not None and self.metered:
                    effect.attempt = requested[call_id] + 1
                    self._ask(effect)
                else:
                    self._to_start[call_id] = effect
            else:
                self.admit(effect, self._futures[call_id])

    def admit(self, effect: LocalEffect, future: Any) -> None:
        """A new step: it starts at the next `flush`, or asks for allowance first."""
        self._futures[effect.call_id] = future
        asks = effect.reserve is not None and self.metered
        if not asks and (self.left is None or self.left > 0):
            self.spend()
            self._to_start[effect.call_id] = effect
        else:
            self._requested.add(effect.call_id)
            self._ask(effect)

    def _ask(self, effect: LocalEffect) -> None:
        self._waiting[effect.call_id] = effect
        self._unsent.add(effect.call_id)
        self._request(effect)

    def grant(self, left: int | None) -> None:
        """The coordinator has counted what was requested and taken: that starts. Running steps it has not counted take from `left`."""
        funded = [call_id for call_id in self._waiting if call_id not in self.unfunded and call_id not in self._unsent]
        self._to_start.update((call_id, self._waiting.pop(call_id)) for call_id in funded)
        uncounted = sum(1 for call_id in self._running if call_id not in self._requested)
        self.left = None if left is None else max(0, left - uncounted)

    def name_of(self, call_id: CallId) -> str:
        """The name of a running step; "" if it does not run."""
        effect = self._running.get(call_id)
        return effect.name if effect is not None else ""

    def asked_of(self, call_id: CallId) -> str:
        """What a running step was asked, as it is recorded."""
        effect = self._running.get(call_id)
        return effect.asked if effect is not None else ""

    def settle(self, call_id: CallId) -> Any | None:
        """The result of a step is there: the future that waits for it, or None if nobody does."""
        self._running.pop(call_id, None)
        self._held.pop(call_id, None)
        self._waiting.pop(call_id, None)
        self._requested.discard(call_id)
        return self._futures.pop(call_id, None)

    def cancel(self, call_id: CallId, requested: Container[CallId] = ()) -> bool:
        """The code no longer waits for it. True if the coordinator knows of it, because it was requested."""
        if self._futures.pop(call_id, None) is None:
            return False  # its result arrived first
        self._held.pop(call_id, None)
        self._waiting.pop(call_id, None)
        if self._to_start.pop(call_id, None) is not None and self.left is not None:
            self.left += 1
        if call_id in self._running:
            self._to_drop.append(self._running[call_id])
        return call_id in self._requested or call_id in requested

    def flush(self, start_effect: Callable[[LocalEffect], None]) -> None:
        """Outside the agent's code: hand out what may start, tell of what is no longer wanted."""
        while self._to_drop:
            self._to_drop.pop().drop()
        while self._to_start:
            call_id = next(iter(self._to_start))
            effect = self._running[call_id] = self._to_start.pop(call_id)
            start_effect(effect)

    def drop_all(self) -> None:
        """The run ended or was evicted: nothing is wanted or requested any more; what runs still counts until it is finished."""
        self._request = _nobody
        self._futures.clear()
        self._held.clear()
        self._waiting.clear()
        self._to_start.clear()
        self._to_drop.clear()
        for effect in list(self._running.values()):
            effect.drop()


def _nobody(_effect: LocalEffect) -> None:
    """Asked for allowance once the run is over."""
