"""Activations that were delivered again and again: perhaps each worker that took them died of them (CORRECTNESS.md row 14).

A suspect is taken up after a delay that doubles with each delivery, and alone, so that the innocent ones among them get done before
the culprit kills the next worker. Nobody is stopped: the number of deliveries is in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from waypost_io.bus.ports import Delivery
from waypost_proto.ids import RunId
from waypost_proto.work import Activation
from waypost_worker.tuning import Tuning

if TYPE_CHECKING:
    from waypost_worker.slot import RunSlot

_ALONE_SECONDS = 5.0
"""How long the next suspect waits for the one before to come to rest."""
_log = structlog.get_logger(__name__)


class Suspects:
    """Takes suspects one at a time. `sleep` waits so many seconds."""

    def __init__(self, tuning: Tuning, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._tuning = tuning
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._waiting: dict[int, Delivery] = {}
        self._alone: tuple[RunId, asyncio.Event] | None = None

    @property
    def waiting(self) -> int:
        """Suspects whose turn has not come."""
        return len(self._waiting)

    def keep(self) -> None:
        """Tell JetStream that those who wait are in hand."""
        for delivery in self._waiting.values():
            delivery.in_progress()

    def hand_over(self) -> None:
        """The worker leaves: those who wait for their turn go to another one."""
        for delivery in self._waiting.values():
            delivery.give_back()

    def rested(self, slot: RunSlot) -> None:
        """A run came to rest, or is gone; if it was the suspect's, the next one may begin."""
        if self._alone is not None and self._alone[0] == slot.run_id:
            self._alone[1].set()

    async def take(self, delivery: Delivery, activation: Activation, activate: Callable[[Delivery, Activation], object]) -> None:
        """Wait, take the turn, activate, and keep the turn until the run rests."""
        self._waiting[id(delivery)] = delivery
        try:
            delay = min(2.0 ** (delivery.delivered - self._tuning.suspect_after - 1), self._tuning.suspect_max_seconds)
            _log.warning(
                "suspect activation, taking it up late",
                run_id=activation.run_id,
                agent=activation.agent,
                delivered=delivery.delivered,
                delay_seconds=delay,
            )
            await self._sleep(delay)
            async with self._turn:
                del self._waiting[id(delivery)]
                rested = asyncio.Event()
                self._alone = (activation.run_id, rested)
                activate(delivery, activation)
                try:
                    async with asyncio.timeout(_ALONE_SECONDS):
                        await rested.wait()
                except TimeoutError:
                    _log.info("a suspect works longer than others wait", run_id=activation.run_id, agent=activation.agent)
                finally:
                    self._alone = None
        finally:
            self._waiting.pop(id(delivery), None)
