"""Every message and channel of the wire, in tables: what the schemas, the AsyncAPI document and the golden bytes are made from.

Owns no message. A message that is missing here has no published schema; a test compares this file with the modules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, get_args

from waypost_proto import api, commands, events, mailbox, notices, registry, streams, task, tools, work

Kind = type[Any]


def snake(name: str) -> str:
    """`ToolCallFailed` to `tool_call_failed`: file names and AsyncAPI message keys."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


TOOL_MAIL: tuple[Kind, ...] = get_args(mailbox.AnyToolMail)
CONTROL: tuple[Kind, ...] = (*get_args(mailbox.AnyControl), *get_args(mailbox.AnyLeaseMail))
ITEMS: tuple[Kind, ...] = get_args(commands.AnyItem)
EVENT_DATA: tuple[Kind, ...] = get_args(events.AnyData)

RAW_UNIONS: dict[tuple[str, str], tuple[Kind, ...]] = {
    ("Advance", "items"): ITEMS,
    ("Event", "data"): EVENT_DATA,
}
"""Fields that are `Raw` in code (their bytes are hashed or stored as sent) but whose content has a type all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One subject, as the coordinator sees it: does it `receive` from it or `send` to it. `stream` "" means core NATS."""

    key: str
    address: str
    action: str
    messages: tuple[Kind, ...]
    summary: str
    stream: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    reply: tuple[Kind, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One `waypost.api.<noun>.<verb>`; None stands for a body of plain bytes."""

    noun: str
    verb: str
    request: Kind | None
    answer: Kind | None


_AGENT = "agent name, [a-z0-9-]{1,63}"
_TOOL = "tool name, [a-z0-9-]{1,63}"
_RUN = "run id, a UUIDv7"

CHANNELS: tuple[Channel, ...] = (
    Channel(
        key="tasks",
        address="waypost.tasks.{agent}",
        action="receive",
        messages=(task.Task,),
        summary="Anyone asks for a run of an agent.",
        stream="WAYPOST_TASKS",
        parameters={"agent": _AGENT},
    ),
    Channel(
        key="advances",
        address="waypost.mailbox.advance.{agent}.{run_id}",
        action="receive",
        messages=(mailbox.Advance, mailbox.MailFrame),
        summary="A worker answers an activation.",
        stream="WAYPOST_MAILBOX",
        parameters={"agent": _AGENT, "run_id": _RUN},
    ),
    Channel(
        key="results",
        address="waypost.mailbox.result.{tool}.{run_id}",
        action="receive",
        messages=(*TOOL_MAIL, mailbox.MailFrame),
        summary="A gateway answers one attempt of a tool call.",
        stream="WAYPOST_MAILBOX",
        parameters={"tool": _TOOL, "run_id": _RUN},
    ),
    Channel(
        key="controls",
        address="waypost.mailbox.control.{name}.{run_id}",
        action="receive",
        messages=CONTROL,
        summary="The API, a person or another run acts on a run.",
        stream="WAYPOST_MAILBOX",
        parameters={"name": "who sends", "run_id": _RUN},
    ),
    Channel(
        key="work",
        address="waypost.work.{agent}.{build}.{worker}",
        action="send",
        messages=(work.Activation, work.ActivationFrame),
        summary="A run goes on at a worker: here is what is new.",
        stream="WAYPOST_WORK",
        parameters={"agent": _AGENT, "build": "build id of the agent's code", "worker": "a worker, or `any`"},
    ),
    Channel(
        key="tools",
        address="waypost.tools.{tool}",
        action="send",
        messages=(tools.ToolCall,),
        summary="One attempt of one tool call, for a gateway.",
        stream="WAYPOST_TOOLS",
        parameters={"tool": _TOOL},
    ),
    Channel(
        key="events",
        address="waypost.events.{agent}.{run_id}.{event_type}",
        action="send",
        messages=(events.Event,),
        summary="What happened to a run, for anyone.",
        stream="WAYPOST_EVENTS",
        parameters={"agent": _AGENT, "run_id": _RUN, "event_type": "the `type` of the event"},
    ),
    Channel(
        key="supervisor",
        address="waypost.supervisor.{agent}",
        action="send",
        messages=(notices.Notice,),
        summary="People are told, with what they can do.",
        stream="WAYPOST_SUPERVISOR",
        parameters={"agent": _AGENT},
    ),
    Channel(
        key="confirm",
        address="waypost.confirm.{worker}",
        action="send",
        messages=(work.Confirm,),
        summary="What was committed of a worker's advances, and what was refused.",
        parameters={"worker": "worker id"},
    ),
    Channel(
        key="stop",
        address="waypost.stop",
        action="send",
        messages=(work.Stop,),
        summary="Let go of a run or a call.",
    ),
    Channel(
        key="stream",
        address="waypost.stream.{run_id}",
        action="receive",
        messages=get_args(streams.AnyStreamed),
        summary="A worker shows what a model or a graph writes, as it arrives. No coordinator listens: it is for whoever watches a run.",
        parameters={"run_id": _RUN},
    ),
    Channel(
        key="announce",
        address="waypost.registry.announce",
        action="receive",
        messages=(registry.Announce,),
        reply=(registry.Announced,),
        summary="A worker or gateway says what it hosts; answered when that is committed.",
    ),
    Channel(
        key="heartbeat",
        address="waypost.registry.heartbeat",
        action="receive",
        messages=(registry.Heartbeat,),
        summary="A worker or gateway lives.",
    ),
    Channel(
        key="gateways",
        address="waypost.registry.gateways",
        action="receive",
        messages=(registry.GatewayNews,),
        summary="A gateway to the others: it lives, hosts these tools, and knows these breakers.",
    ),
    Channel(
        key="consumer",
        address="waypost.registry.consumer",
        action="receive",
        messages=(registry.ConsumerAsked,),
        reply=(registry.ConsumerTold,),
        summary="A peer in an account of its own asks for the consumer that it pulls.",
    ),
    Channel(
        key="presence",
        address="waypost.coordinators.presence",
        action="send",
        messages=(registry.Presence,),
        summary="A coordinator to its replicas: it lives, gave partitions back, or goes.",
    ),
)

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("runs", "start", api.RunsStart, api.RunAnswer),
    Endpoint("runs", "get", api.RunRef, api.RunView),
    Endpoint("runs", "list", api.RunsList, api.RunPage),
    Endpoint("runs", "events", api.RunRef, api.EventPage),
    Endpoint("runs", "journal", api.RunRef, work.JournalPage),
    Endpoint("runs", "signal", api.RunSignal, api.RunAnswer),
    Endpoint("runs", "pause", api.RunCommand, api.RunAnswer),
    Endpoint("runs", "resume", api.RunCommand, api.RunAnswer),
    Endpoint("runs", "cancel", api.RunCommand, api.RunAnswer),
    Endpoint("runs", "resolve", api.RunResolve, api.RunAnswer),
    Endpoint("runs", "fork", api.RunFork, api.RunAnswer),
    Endpoint("runs", "redispatch", api.Redispatch, api.RedispatchAnswer),
    Endpoint("approvals", "list", api.ApprovalsList, api.ApprovalPage),
    Endpoint("approvals", "decide", api.ApprovalsDecide, api.RunAnswer),
    Endpoint("agents", "list", api.NameList, api.AgentPage),
    Endpoint("tools", "list", api.NameList, api.ToolPage),
    Endpoint("dead", "list", api.DeadList, api.DeadPage),
    Endpoint("dead", "show", api.DeadRef, api.DeadDetail),
    Endpoint("dead", "redrive", api.DeadRef, api.DeadView),
    Endpoint("dead", "discard", api.DeadRef, api.DeadView),
    Endpoint("payloads", "get", api.PayloadGet, None),
    Endpoint("payloads", "put", None, None),
)


def messages() -> tuple[Kind, ...]:
    """Every message with a schema of its own, each once, in the order of the tables."""
    found: dict[Kind, None] = {}
    for channel in CHANNELS:
        found |= dict.fromkeys((*channel.messages, *channel.reply))
    found |= dict.fromkeys((*ITEMS, *EVENT_DATA, mailbox.Reply))
    for endpoint in ENDPOINTS:
        found |= dict.fromkeys(kind for kind in (endpoint.request, endpoint.answer) if kind is not None)
    found[api.ApiError] = None
    return tuple(found)
