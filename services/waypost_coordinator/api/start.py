"""`runs.start`: a task through the API. Answered after the commit, so that what was accepted cannot be lost (P1)."""

from __future__ import annotations

import os

from msgspec import UNSET

from waypost_coordinator.api.exchange import answered, claim, read
from waypost_coordinator.api.ports import Api
from waypost_io.bus.ports import Message
from waypost_io.identity import fingerprint
from waypost_proto.api import RunAnswer, RunsStart
from waypost_proto.errors import BadInput, Denied
from waypost_proto.ids import RunId, check_name, parse_run_id, uuid7
from waypost_proto.limits import MAX_LABELS
from waypost_proto.mailbox import StartRun
from waypost_proto.task import check_texts, parse_deadline, parse_time

TRACE_HEADER = "traceparent"


async def start(api: Api, message: Message) -> RunAnswer:
    """Start a run by the same rules as a task on `waypost.tasks.<agent>`.

    Idempotent by `idempotency_key` and by `run_id`: repeating either returns the first run with `duplicate`; the same key
    with other input raises `Conflict`. A client that gives neither and repeats the request starts a second run.
    """
    request = read(RunsStart, message.body)
    check_name("agent", request.agent)
    if api.caller.agents and request.agent not in api.caller.agents:
        raise Denied(f"the token of {api.caller.subject} is for runs of {', '.join(api.caller.agents)}, not of {request.agent}")
    if request.input is UNSET and request.input_ref is UNSET:
        raise BadInput('input is missing: send "input" (any JSON, null too) or "input_ref" of an uploaded payload')
    if len(request.labels) > MAX_LABELS:
        raise BadInput(f"{len(request.labels)} labels, the limit is {MAX_LABELS}")
    check_texts(idempotency_key=request.idempotency_key, correlation_id=request.correlation_id, labels=request.labels)
    if request.deadline is not None:
        parse_deadline(request.deadline, now=0.0)
    value, ref = await claim(api.store, "input", request.input, request.input_ref)
    reply = await api.commands.submit(
        StartRun(
            run_id=new_run_id(api, request.run_id),
            tenant=api.caller.tenant,
            starter=api.caller.subject,
            agent=request.agent,
            input=value,
            input_ref=ref,
            idempotency_key=request.idempotency_key,
            correlation_id=request.correlation_id,
            budget=request.budget.limits() if request.budget is not None else None,
            deadline=request.deadline,
            labels=dict(request.labels),
            trace=message.headers.get(TRACE_HEADER, ""),
        )
    )
    return answered(reply)


def new_run_id(api: Api, chosen: str | None) -> RunId:
    """The id of a run that is about to be: the one that its client chose, or a fresh one. Raises `BadInput`."""
    if chosen is not None:
        return parse_run_id(chosen)
    proof = api.caller.proof
    if proof is not None:  # whoever repeats a signed request starts no second run
        return uuid7(int(parse_time(proof.at) * 1000), bytes.fromhex(fingerprint(proof.signature))[:10])
    return uuid7(int(api.clock() * 1000), os.urandom(10))
