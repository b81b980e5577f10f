"""Every endpoint of `waypost.api.*` in one table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from waypost_coordinator.api import approvals, control, dead, deciding, directory, fork, journal, payloads, runs, start
from waypost_coordinator.api.ports import Api
from waypost_coordinator.callers import NOBODY
from waypost_io.bus.ports import Endpoint, EndpointHandler, Message
from waypost_proto.codec import encode
from waypost_proto.values import Value

Operation = Callable[[Api, Message], Awaitable[Value | tuple[bytes, Mapping[str, str]]]]
SERVICE_NAME = "waypost"
SERVICE_DESCRIPTION = "Start, read and control durable runs; answers to commands follow the commit."

OPERATIONS: Mapping[str, Operation] = {
    "runs.start": start.start,
    "runs.get": runs.get,
    "runs.list": runs.list_runs,
    "runs.events": runs.events,
    "runs.journal": journal.journal,
    "runs.signal": control.signal,
    "runs.pause": control.pause,
    "runs.resume": control.resume,
    "runs.cancel": control.cancel,
    "runs.resolve": control.resolve,
    "runs.fork": fork.fork,
    "runs.redispatch": control.redispatch,
    "approvals.list": approvals.list_approvals,
    "approvals.decide": deciding.decide,
    "agents.list": directory.agents,
    "tools.list": directory.tools,
    "dead.list": dead.list_dead,
    "dead.show": dead.show,
    "dead.redrive": dead.redrive,
    "dead.discard": dead.discard,
    "payloads.get": payloads.get,
    "payloads.put": payloads.put,
}


def endpoints(api: Api) -> list[Endpoint]:
    """The endpoints for `Bus.serve`; the bus turns what they raise into error answers."""
    made = []
    for name, operation in OPERATIONS.items():
        noun, verb = name.split(".")
        made.append(Endpoint(name=name.replace(".", "-"), subject=api.subjects.api(noun, verb), handler=_handler(api, name, operation)))
    return made


def _handler(api: Api, name: str, operation: Operation) -> EndpointHandler:
    gate = api.gate

    async def handle(message: Message) -> bytes | tuple[bytes, Mapping[str, str]]:
        caller = NOBODY if gate is None else gate.admit(name, message.subject, message.headers, message.body)
        await api.belongings.check(api.store.reads, name, caller, message.body)
        answer = await operation(api if caller is NOBODY else replace(api, caller=caller), message)
        return answer if isinstance(answer, tuple) else encode(answer)

    return handle
