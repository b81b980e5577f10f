"""`runs.journal`: what a worker reads when it does not hold a run's journal (cache miss, restart, take-over)."""

from __future__ import annotations

from typing import get_args

from waypost_coordinator.api.exchange import bounded, read
from waypost_coordinator.api.ports import Api
from waypost_coordinator.api.runs import MAX_EVENTS, existing, page_of_events
from waypost_coordinator.encoding import entry_of
from waypost_coordinator.views import state_of
from waypost_io.bus.ports import Message
from waypost_proto.api import RunRef
from waypost_proto.codec import decode
from waypost_proto.errors import TransientError
from waypost_proto.events import OUTSIDE, AnyData, Event, FromWorker
from waypost_proto.ids import parse_run_id
from waypost_proto.work import JournalPage

JOURNAL_TYPES = tuple(sorted(OUTSIDE | {kind.__struct_config__.tag for kind in get_args(AnyData) if issubclass(kind, FromWorker)}))
"""Types of the events that make up a journal: what the agent's code was given, and what its worker reported."""


async def journal(api: Api, message: Message) -> JournalPage:
    """The journal after `after`, with the digest and `seen` that the run's committed state has at its end.

    The state is read before the events and the events are cut at its seq, so that the last page and the digest on it
    always belong together however fast the run goes on. Raises `NotFound`.
    """
    request = read(RunRef, message.body)
    run_id = parse_run_id(request.run_id)
    row = await existing(api, run_id)
    state = state_of(row)
    if state is None:
        raise TransientError(f"run {run_id} has a state of version {row.state_version}: its coordinator brings it up to date first")
    limit = bounded(request.limit, MAX_EVENTS)
    rows, more = await page_of_events(api, run_id, after=request.after, limit=limit, types=JOURNAL_TYPES, upto=row.seq)
    return JournalPage(
        run_id=run_id,
        agent=row.agent,
        build=row.build,
        digest=state.digest,
        seen=state.seen,
        last_seq=row.seq,
        status=row.status,
        entries=[entry_of(decode(Event, found.body)) for found in rows],
        next_after=rows[-1].seq if rows and more else None,
    )
