"""One message of a tool's consumer, from delivery to ack: decode, find out what to do, publish, ack. The supervisor of foreign code."""

from __future__ import annotations

import asyncio

import structlog

from waypost_gateway.about import about
from waypost_gateway.calls import AnyTool, Calls
from waypost_gateway.dead_letters import DeadLetters
from waypost_gateway.inflight import InFlight, Work, key_of
from waypost_gateway.mailer import Mailer
from waypost_gateway.metrics import Metrics
from waypost_gateway.outcomes import ASKED_AGAIN, Answered, Ignored, Left, Outcome
from waypost_gateway.reconciling import Reconciler
from waypost_gateway.stops import Stops
from waypost_io import faults
from waypost_proto.codec import decode
from waypost_proto.errors import BadInput, BadMessage
from waypost_proto.ids import parse_run_id
from waypost_proto.tools import ToolCall

_log = structlog.get_logger(__name__)


class Handler:
    """Handles messages; one per gateway. Idempotent by (run, call, attempt, mode) while the call is in hand, by the ledger afterwards."""

    def __init__(
        self,
        calls: Calls,
        reconciler: Reconciler,
        mailer: Mailer,
        dead_letters: DeadLetters,
        inflight: InFlight,
        stops: Stops,
        metrics: Metrics,
    ) -> None:
        self._calls = calls
        self._reconciler = reconciler
        self._mailer = mailer
        self._dead_letters = dead_letters
        self._inflight = inflight
        self._stops = stops
        self._metrics = metrics
        self._time = asyncio.get_running_loop().time

    async def handle(self, work: Work, tool: AnyTool) -> str:
        """Handle the message and drop the work; the name of the outcome. Raises nothing but cancellation: the message stays unacked."""
        began = self._time()
        name = "left"
        try:
            name = await self._handle(work, tool)
        except Exception:  # noqa: BLE001 - the supervisor of one call
            # a bug of ours: the message comes again, the others go on
            name = "bug"
            _log.exception("handling a tool call failed, it will be delivered again", **about(work.call))
        finally:
            self._inflight.drop(work)
            run_id = "" if work.call is None else work.call.run_id
            self._metrics.call(tool.name, name, self._time() - began, run_id)
        return name

    async def give_up(self, work: Work, tool: AnyTool) -> None:
        """Answer a call whose code will not stop, and drop the work; its handling goes on beside. Raises nothing but cancellation."""
        call = work.call
        if call is None or work.given_up:
            return
        began = self._time()
        name = "left"
        try:
            outcome = await (self._calls.give_up(call, tool, work) if call.mode == "execute" else self._reconciler.give_up(call, work))
            name = await self._conclude(call, work, outcome)
        except Exception:  # noqa: BLE001 - the supervisor of one call
            name = "bug"
            _log.exception("giving a tool call up failed, it will be delivered again", **about(work.call))
        finally:
            self._inflight.drop(work)
            self._metrics.call(tool.name, name, self._time() - began, call.run_id)

    async def _handle(self, work: Work, tool: AnyTool) -> str:
        """The name of the outcome."""
        delivery = work.deliveries[0]
        try:
            call: ToolCall = _decode(delivery.body, tool)
        except BadMessage as error:
            await self._dead_letters.keep(delivery, str(error))
            self._metrics.dead.inc()
            delivery.ack()
            return "dead"
        if not self._inflight.claim(work, key_of(call)):
            return "joined"
        work.call = call
        structlog.contextvars.bind_contextvars(**about(call))  # of this task: whatever the tool logs says which run it is
        if self._stops.is_over(call):
            work.ack()
            return "ignored"
        actor = self._calls if call.mode == "execute" else self._reconciler
        name = await self._conclude(call, work, await actor.handle(call, tool, work))
        while name in ASKED_AGAIN and work.next():
            # it may have been sent because of what became of the first: a resume permits again what the pause had revoked
            call = work.call = _decode(work.deliveries[0].body, tool)
            name = await self._conclude(call, work, await actor.handle(call, tool, work))
        return name

    async def _conclude(self, call: ToolCall, work: Work, outcome: Outcome) -> str:
        """Publish, ack; the name of the outcome."""
        match outcome:
            case Answered(body, name):
                await self._mailer.post(call, work.deliveries[0], body)
            case Ignored(why):
                name = "ignored"
                _log.debug("a call is ignored", **about(call), why=why)
            case Left(why):
                _log.debug("a call is left for later", **about(call), why=why)
                if work.interrupted == "draining":
                    work.give_back()
                return "left"
        faults.point("gateway.ack.before")
        if name in ASKED_AGAIN:
            work.deliveries[0].ack()
        else:
            work.ack()
        faults.point("gateway.ack.after")
        return name


def _decode(body: bytes, tool: AnyTool) -> ToolCall:
    """The tool call. Raises `BadMessage`, also when it is for another tool than its subject says."""
    call = decode(ToolCall, body)
    if call.tool != tool.name:
        raise BadMessage(f"a call of tool {call.tool[:80]!r} came on the subject of {tool.name!r}")
    try:
        parse_run_id(call.run_id)
    except BadInput as error:
        raise BadMessage(str(error)) from error
    return call
