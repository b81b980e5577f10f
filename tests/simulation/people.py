"""Those who look after runs: they approve, raise limits, and find out what became of calls in doubt.

They repeat what was not confirmed, and know where to look: in the tables, instead of a console.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Raw

from tests.simulation.loop import SimulatedLoop
from tests.simulation.provider import Provider, receipt
from waypost import Client
from waypost_core.state import decode_state
from waypost_io.store.memory import MemoryDatabase
from waypost_io.store.ports import RunRow
from waypost_proto import api
from waypost_proto.codec import decode, encode
from waypost_proto.errors import Conflict, NotFound, TransientError
from waypost_proto.events import BreakerTripped, Event, ToolCallRequested
from waypost_proto.ids import RunId
from waypost_proto.task import TaskBudget

WAIT_SECONDS = 6.0
"""How long a person waits before looking for a transfer in doubt: past the time limit of the call and whatever is still on the way."""


class People:
    """Each method works until it is cancelled."""

    def __init__(self, loop: SimulatedLoop, tables: MemoryDatabase, provider: Provider, client: Client) -> None:
        self._loop = loop
        self._tables = tables
        self._provider = provider
        self._client = client

    async def approve(self) -> None:
        while True:
            try:
                for approval in await self._client.approvals(role="officer"):
                    request = api.ApprovalsDecide(
                        approval_id=approval.approval_id, decision="approve", by="ann", roles=["officer"], request_id=approval.approval_id
                    )
                    await confirmed(lambda request=request: self._client.call("approvals.decide", request, api.RunAnswer))
            except TransientError:
                pass
            await asyncio.sleep(0.7)

    async def raise_limits(self) -> None:
        """A run that its breaker paused goes on with a little more; one whose code did not fit goes on as it is."""
        while True:
            for run_id, row in sorted(self._tables.runs.items()):
                found = self._tripped(run_id, row)
                if found is not None:
                    seq, budget = found
                    request = api.RunCommand(run_id=str(run_id), request_id=f"raise-{run_id[-6:]}-{seq}", budget=budget)
                    await confirmed(lambda request=request: self._client.call("runs.resume", request, api.RunAnswer))
            await asyncio.sleep(0.9)

    def _tripped(self, run_id: RunId, row: RunRow) -> tuple[int, TaskBudget | None] | None:
        events = self._tables.events.get(run_id, {})
        last = {event.type: seq for seq, event in sorted(events.items())}
        tripped_at = last.get("breaker_tripped", 0)
        if row.status != "paused" or tripped_at <= max(last.get("run_resumed", 0), last.get("run_forked", 0)):
            return None
        tripped = decode(BreakerTripped, decode(Event, events[tripped_at].body).data)
        if tripped.limit not in ("max_steps", "max_seconds"):
            return tripped_at, None
        state = decode_state(row.state)
        return tripped_at, TaskBudget(
            max_steps=None if state.budget.max_steps is None else state.steps + state.budget.max_steps + 2,
            max_seconds=None if state.budget.max_seconds is None else state.budget.max_seconds + 1_000.0,
        )

    async def settle_doubts(self) -> None:
        """Where no hook can be asked a person looks at the books, once nothing can be on the way any more."""
        since: dict[tuple[RunId, str], float] = {}
        while True:
            for run_id, row in sorted(self._tables.runs.items()):
                for call_id, call in decode_state(row.state).calls.items() if row.open else ():
                    if call.stage != "doubt" or call.due_at is not None:
                        since.pop((run_id, call_id), None)
                    elif self._loop.now > since.setdefault((run_id, call_id), self._loop.now) + WAIT_SECONDS:
                        await self._resolve(run_id, call_id, call.seq, call.attempt)
                        since.pop((run_id, call_id), None)
            await asyncio.sleep(0.8)

    async def _resolve(self, run_id: RunId, call_id: str, seq: int, attempt: int) -> None:
        requested = decode(ToolCallRequested, decode(Event, self._tables.events[run_id][seq].body).data)
        done = self._provider.effects[f"{run_id}/{call_id}"] > 0
        (cents,) = decode(dict[str, int], requested.args).values()
        request = api.RunResolve(
            run_id=str(run_id),
            call_id=call_id,
            outcome="completed" if done else "not_done",
            request_id=f"resolve-{call_id}-{attempt}",
            by="bob",
            **({"result": Raw(encode(receipt(cents)))} if done else {}),
        )
        await confirmed(lambda: self._client.call("runs.resolve", request, api.RunAnswer))


complaints: list[str] = []
"""What the platform should not have answered."""
complain = complaints.append


async def until_told(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The answer, asked for as long as nobody gives one. Every request is safe to repeat."""
    while True:
        try:
            return await ask()
        except TransientError:
            await asyncio.sleep(0.2)
        except NotFound as error:
            if "no stream takes" not in str(error):
                raise
            complain(f"the API answered {error}")
            await asyncio.sleep(0.2)


async def confirmed(ask: Callable[[], Awaitable[Any]]) -> bool:
    """Whether the platform did it; False if it says that it cannot be done any more."""
    try:
        await until_told(ask)
    except (Conflict, NotFound):
        return False
    return True
