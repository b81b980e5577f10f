"""Stop notices: work that nobody waits for any more. Owns what they may stop, which is reads and nothing else.

A notice is core NATS: losing one costs time. What has started and is not a read goes on, because its effect is what the run must know
before it may end (CORRECTNESS.md row 7); what has not started is stopped by its revoked permit, not by this.
"""

from __future__ import annotations

from collections import OrderedDict

import structlog

from waypost_gateway.inflight import InFlight, Work
from waypost_io.bus.ports import Message
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage
from waypost_proto.ids import CallId, RunId
from waypost_proto.tools import ToolCall
from waypost_proto.values import Effect
from waypost_proto.work import Stop

REMEMBERED = 4_096
"""Ended runs and cancelled calls whose queued reads are dropped when they arrive."""

_log = structlog.get_logger(__name__)


class Stops:
    """Listens to `waypost.stop`."""

    def __init__(self, inflight: InFlight) -> None:
        self._inflight = inflight
        self._over: OrderedDict[tuple[RunId, CallId | None], None] = OrderedDict()

    async def on_message(self, message: Message) -> None:
        """One notice. Idempotent."""
        try:
            stop = decode(Stop, message.body)
        except BadMessage as error:
            _log.warning("not a stop notice", error=str(error))
            return
        if stop.why == "paused":
            return  # what runs is finished and reported; nothing new is dispatched
        if stop.why == "cancelled_call" and stop.call_id is None:
            return
        call_id = stop.call_id if stop.why == "cancelled_call" else None
        self._over[stop.run_id, call_id] = None
        while len(self._over) > REMEMBERED:
            self._over.popitem(last=False)
        for work in self._inflight.of_run(stop.run_id, call_id):
            if _may_stop(work):
                work.interrupt("ended")

    def is_over(self, call: ToolCall) -> bool:
        """Whether this queued call is a read that nobody waits for."""
        if not self._over or call.permit or call.effect is not Effect.READ:
            return False
        return (call.run_id, None) in self._over or (call.run_id, call.call_id) in self._over


def _may_stop(work: Work) -> bool:
    return work.effect is Effect.READ and work.permit is None and work.key is not None and work.key.mode == "execute"
