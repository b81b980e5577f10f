"""`runs.fork`: a new run that begins with another's events. What needs a row is checked here, the rest where the fork lives."""

from __future__ import annotations

from msgspec import UNSET

from waypost_coordinator.api.exchange import answered, claim, read
from waypost_coordinator.api.ports import Api
from waypost_coordinator.api.runs import existing
from waypost_coordinator.api.start import TRACE_HEADER, new_run_id
from waypost_io.bus.ports import Message
from waypost_proto.api import RunAnswer, RunFork
from waypost_proto.errors import BadInput, TooLarge
from waypost_proto.ids import parse_run_id
from waypost_proto.limits import MAX_FORK_EVENTS, MAX_LABELS
from waypost_proto.mailbox import ForkRun
from waypost_proto.task import check_texts, parse_deadline


async def fork(api: Api, message: Message) -> RunAnswer:
    """`runs.fork`: answered after the commit with the fork's id. Idempotent by `new_run_id`.

    Raises `NotFound` (no such run, or another tenant's), `BadInput` (no such event, or one inside a step: the nearest are named),
    `TooLarge` (a run of too many events), `Conflict` (`new_run_id` is another run's).
    """
    request = read(RunFork, message.body)
    source = parse_run_id(request.run_id)
    row = await existing(api, source)
    if row.seq > MAX_FORK_EVENTS:
        raise TooLarge(f"run {source} has {row.seq} events, the most that a fork can begin with is {MAX_FORK_EVENTS}")
    if request.at > row.seq:  # said here: a refusal of the run's owner could be repeated when there is such an event, and be a fork then
        raise BadInput(f"run {source} has {row.seq} events: there is no event {request.at} to fork it at")
    if len(request.labels) >= MAX_LABELS:
        raise BadInput(f"{len(request.labels)} labels, the limit is {MAX_LABELS}, one of which says where the run was forked")
    check_texts(idempotency_key=None, correlation_id=None, labels=request.labels)
    if request.deadline is not None:
        parse_deadline(request.deadline, now=0.0)
    value, ref = await claim(api.store, "input", request.input, request.input_ref)
    if (value is not UNSET or ref is not UNSET) and request.at != 1:
        raise BadInput(f"another input means another beginning: fork at event 1 to change it, not at {request.at}")
    reply = await api.commands.submit(
        ForkRun(
            run_id=new_run_id(api, request.new_run_id),
            source=source,
            seq=request.at,
            tools=request.tools,
            input=value,
            input_ref=ref,
            budget=request.budget.limits() if request.budget is not None else None,
            deadline=request.deadline,
            labels=dict(request.labels),
            tenant=row.tenant,  # whoever sees all tenants moves nothing from one to another
            trace=message.headers.get(TRACE_HEADER, ""),
            starter=api.caller.subject,
            by=api.caller.named(request.by),
        )
    )
    return answered(reply)
