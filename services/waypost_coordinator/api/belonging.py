"""Whose a run is, and that it does not exist for anybody else. Owns the check of every endpoint that names a run.

It is made in one place, before the endpoint, from the request's own `run_id`: an endpoint that is added later cannot forget it. What an
endpoint finds out about other runs or approvals it checks itself (`Caller.sees`).
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from waypost_coordinator.callers import Caller
from waypost_io.store.ports import Reads
from waypost_proto.errors import BadInput, NotFound
from waypost_proto.ids import RunId, parse_run_id

MAX_KEPT = 20_000
NOT_ABOUT_A_RUN = frozenset({"runs.start", "approvals.list", "payloads.put"})
"""Here `run_id` is one that the caller chooses, or narrows a list that shows the caller's own alone; or the body is not JSON."""


class _Named(msgspec.Struct):
    run_id: str | None = None


class Belongings:
    """Tenant and agent of runs. They never change, so that what was read once is kept; at most `MAX_KEPT` runs."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[str, str]] = OrderedDict()

    async def of(self, reads: Reads, run_id: RunId) -> tuple[str, str] | None:
        """(tenant, agent); None when there is no such run."""
        found = self._known.get(run_id)
        if found is not None:
            self._known.move_to_end(run_id)
            return found
        row = await reads.get(run_id)
        if row is None:
            return None
        found = self._known[run_id] = (row.tenant, row.agent)
        while len(self._known) > MAX_KEPT:
            self._known.popitem(last=False)
        return found

    async def check(self, reads: Reads, operation: str, caller: Caller, body: bytes) -> None:
        """Raises `NotFound` when the request names a run that is not the caller's, in the words for one that is not there."""
        if operation in NOT_ABOUT_A_RUN or (caller.bound_to is None and not caller.agents):
            return
        try:
            text = msgspec.json.decode(body or b"{}", type=_Named).run_id
            run_id = None if text is None else parse_run_id(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, BadInput):
            return  # the endpoint says what is wrong with it, and reads nothing
        if run_id is None:
            return
        found = await self.of(reads, run_id)
        if found is None or not caller.sees(*found):
            raise missing(run_id)


def missing(run_id: RunId) -> NotFound:
    """The same words for a run that is not there and for one that is not the caller's."""
    return NotFound(f"no run {run_id}: `waypost runs list` shows those there are")
