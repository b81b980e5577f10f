"""What people do to a run: signal, pause, resume, cancel, resolve, derive its work again.

Each command is idempotent by its `request_id`, which is made up when the caller gives none, and answered after the commit.
"""

from __future__ import annotations

from msgspec import UNSET, Raw

from waypost_coordinator.api.exchange import answered, claim, read, request_id_of
from waypost_coordinator.api.ports import Api
from waypost_io.bus.ports import Message
from waypost_proto.api import Redispatch, RedispatchAnswer, RunAnswer, RunCommand, RunResolve, RunSignal
from waypost_proto.errors import BadInput, Denied, TooLarge
from waypost_proto.ids import CallId, parse_run_id
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.mailbox import Cancel, Pause, ResolveCall, Resume, Signal


async def signal(api: Api, message: Message) -> RunAnswer:
    """`runs.signal`: hand something from outside to a run; it may wait for it already, later, or never."""
    request = read(RunSignal, message.body)
    payload, ref = await claim(api.store, "payload", request.payload, request.payload_ref)
    mail = Signal(
        run_id=parse_run_id(request.run_id),
        request_id=request_id_of(request.request_id, api.caller),
        by=api.caller.named(request.by),
        name=request.name,
        payload=payload,
        payload_ref=ref,
    )
    return answered(await api.commands.submit(mail))


async def pause(api: Api, message: Message) -> RunAnswer:
    """`runs.pause`: once answered, nothing queued takes effect until the run is resumed."""
    request = _without_budget(read(RunCommand, message.body), "pause")
    mail = Pause(
        run_id=parse_run_id(request.run_id),
        request_id=request_id_of(request.request_id, api.caller),
        by=api.caller.named(request.by),
        reason=request.reason,
    )
    return answered(await api.commands.submit(mail))


async def resume(api: Api, message: Message) -> RunAnswer:
    """`runs.resume`: go on exactly where the run was paused; `budget` sets new limits, `extra` adds to them, `instruction` is given
    to the agent's code. Raises `Conflict` where the run would stop again at once."""
    request = read(RunCommand, message.body)
    mail = Resume(
        run_id=parse_run_id(request.run_id),
        request_id=request_id_of(request.request_id, api.caller),
        by=api.caller.named(request.by),
        budget=request.budget.limits() if request.budget is not None else None,
        extra=request.extra.limits() if request.extra is not None else None,
        instruction=request.instruction,
        tools=request.tools,
    )
    return answered(await api.commands.submit(mail))


async def cancel(api: Api, message: Message) -> RunAnswer:
    """`runs.cancel`: once answered, nothing queued takes effect; a call that had started is still settled."""
    request = _without_budget(read(RunCommand, message.body), "cancel")
    mail = Cancel(
        run_id=parse_run_id(request.run_id),
        request_id=request_id_of(request.request_id, api.caller),
        by=api.caller.named(request.by),
        reason=request.reason,
    )
    return answered(await api.commands.submit(mail))


async def resolve(api: Api, message: Message) -> RunAnswer:
    """`runs.resolve`: a person settles a call in doubt. A `result` belongs to the outcome `completed` only."""
    request = read(RunResolve, message.body)
    if request.outcome != "completed" and request.result is not UNSET:
        raise BadInput(f"a result goes with the outcome 'completed', not with {request.outcome!r}")
    if isinstance(request.result, Raw) and len(bytes(request.result)) > CLAIM_CHECK_BYTES:
        raise TooLarge(f"the result is {len(bytes(request.result))} bytes, the limit here is {CLAIM_CHECK_BYTES}")
    mail = ResolveCall(
        run_id=parse_run_id(request.run_id),
        request_id=request_id_of(request.request_id, api.caller),
        by=api.caller.named(request.by),
        call_id=CallId(request.call_id),
        outcome=request.outcome,
        result=request.result,
        reason=request.reason,
    )
    return answered(await api.commands.submit(mail))


async def redispatch(api: Api, message: Message) -> RedispatchAnswer:
    """`runs.redispatch`: derive outstanding work again, for one run or for all."""
    request = read(Redispatch, message.body)
    if request.run_id is None and not api.caller.of_the_house:
        raise Denied("everybody's work is derived again by somebody of the tenant 'default' or '*': name a run_id")
    return await api.commands.redispatch(parse_run_id(request.run_id) if request.run_id is not None else None)


def _without_budget(request: RunCommand, verb: str) -> RunCommand:
    if request.budget is not None or request.extra is not None:
        raise BadInput(f"{verb} takes no budget: limits are raised by resume")
    if request.tools is not None:
        raise BadInput(f"{verb} takes no tools: how a fork's calls are answered is changed by resume")
    if request.instruction:
        raise BadInput(f"{verb} takes no instruction: one is given by resume")
    return request
