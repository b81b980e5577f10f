"""Every operation of the HTTP API in one table: the routes, the OpenAPI document, the docs and the tests are made from it.

An operation that is one of `waypost.api.*` has its name (`runs.start`) and its messages; the edge asks the coordinator. One that the edge
answers itself has a `local` name of its own, and its handler is found by it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from waypost_core.audit.proofs import ConsistencyProof, InclusionProof
from waypost_edge.api import types
from waypost_proto import api, events, limits, work

Kind = type[Any]
Tag = Literal["runs", "approvals", "agents and tools", "dead letters", "payloads", "audit"]
BODY_BYTES = limits.MAX_MESSAGE_BYTES - limits.HEADER_ALLOWANCE_BYTES
"""Of a body that travels on as one message."""
LARGE_BODY_BYTES = limits.MAX_PAYLOAD_BYTES + limits.HEADER_ALLOWANCE_BYTES
"""Of a body with a value that is stored by itself when it is large."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path. Names in braces are fields of `request`; so is everything else that it takes, from the query or the body."""

    name: str
    method: Literal["GET", "POST"]
    path: str
    request: Kind
    answer: Kind | None
    """None: plain bytes."""
    tag: Tag
    summary: str
    notes: str = ""
    stream: Kind | None = None
    """What the frames of its server-sent events are, if it has them."""
    local: bool = False
    """The edge answers by itself; the name is not one of `waypost.api.*`."""
    permission: str = ""
    """What the edge itself checks that the caller may; "": the coordinator does."""
    key: str = ""
    """The field that the header `Idempotency-Key` fills."""
    once: str = ""
    """The field that makes repeating it harmless; the edge fills it in where it is missing, because it repeats what nobody answered."""
    cursor: tuple[str, str] | None = None
    """(field of the answer that says where the next page begins, field of the request that takes it)."""
    sends: Kind | None = None
    """What the coordinator is asked with, where that is not `request` itself but has some of its fields."""
    large: str = ""
    """The field that may be larger than a message; `<field>_ref` then travels in its place."""
    without: tuple[str, ...] = ()
    """Fields of the request that mean nothing here."""
    several: tuple[str, ...] = ()
    """Parameters that may come several times and are one value, separated by commas."""
    created: bool = False
    """Answers 201 and where to find what is new, unless it was there."""

    @cached_property
    def in_path(self) -> tuple[str, ...]:
        """The fields of the request that are in the path."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @cached_property
    def takes(self) -> tuple[str, ...]:
        """The fields that are not in the path: in the query of a GET, in the body of a POST."""
        return tuple(name for name in self.request.__struct_fields__ if name not in (*self.in_path, *self.without))

    @property
    def body_bytes(self) -> int:
        """How large a body may be."""
        return LARGE_BODY_BYTES if self.large else BODY_BYTES


def _command(verb: str, summary: str, notes: str = "") -> Operation:
    resumes = verb == "resume"
    return Operation(
        name=f"runs.{verb}",
        method="POST",
        path=f"/v1/runs/{{run_id}}/{verb}",
        request=api.RunCommand,
        answer=api.RunAnswer,
        tag="runs",
        summary=summary,
        notes=notes,
        key="request_id",
        once="request_id",
        without=("reason",) if resumes else ("budget", "extra", "instruction"),
    )


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="runs.start",
        method="POST",
        path="/v1/runs",
        request=api.RunsStart,
        answer=api.RunAnswer,
        tag="runs",
        summary="Start a run",
        notes="It is committed when this is answered, whether or not a worker is there. With the same idempotency key, or the same run id, "
        "again the first run is answered (200 and `duplicate`); with another input it is a conflict (409). An `input` of up to 16 MiB.",
        key="idempotency_key",
        once="run_id",
        large="input",
        created=True,
    ),
    Operation(
        name="runs.list",
        method="GET",
        path="/v1/runs",
        request=api.RunsList,
        answer=api.RunPage,
        tag="runs",
        summary="Find runs, newest first",
        several=("status",),
        cursor=("next_before", "before"),
    ),
    Operation(
        name="runs.get",
        method="GET",
        path="/v1/runs/{run_id}",
        request=api.RunRef,
        answer=api.RunView,
        tag="runs",
        summary="A run as it is now",
        without=("after", "limit"),
    ),
    Operation(
        name="runs.events",
        method="GET",
        path="/v1/runs/{run_id}/events",
        request=types.EventsAsked,
        answer=api.EventPage,
        tag="runs",
        summary="The events of a run, in order",
        notes="With `Accept: text/event-stream` as they happen, until the run has ended: each event is a message, its seq the id, so that "
        "a client which comes back with `Last-Event-ID` misses nothing and gets nothing twice; the last message has the type `end`. With "
        "`tokens=1` what models write comes too, as messages of the type `token`: a preview, which the recorded answer replaces. 204 when "
        "the run has ended and there is nothing behind the cursor.",
        stream=events.Event,
        sends=api.RunRef,
        cursor=("next_after", "after"),
    ),
    Operation(
        name="runs.changes",
        method="GET",
        path="/v1/events",
        request=types.ChangesAsked,
        answer=None,
        tag="runs",
        summary="Changes of runs, live",
        notes="Server-sent events for a list that keeps itself up to date: `ready` at the beginning, `run` for each run that has changed "
        "(several changes within moments are one), `missed` when the list should be read again.",
        stream=types.RunChange,
        local=True,
        permission="runs.list",
    ),
    Operation(
        name="runs.journal",
        method="GET",
        path="/v1/runs/{run_id}/journal",
        request=api.RunRef,
        answer=work.JournalPage,
        tag="runs",
        summary="What a worker replays: results from outside, and what the code reported",
        cursor=("next_after", "after"),
    ),
    _command("pause", "Hold a run where it is", "Once it is answered, nothing queued takes effect until the run is resumed."),
    _command("resume", "Go on exactly where the run was paused", "`budget` sets limits, `extra` adds to those that are set."),
    _command(
        "cancel", "End a run and its children", "Once it is answered, nothing queued takes effect; a call that had started is settled."
    ),
    Operation(
        name="runs.resolve",
        method="POST",
        path="/v1/runs/{run_id}/resolve",
        request=api.RunResolve,
        answer=api.RunAnswer,
        tag="runs",
        summary="Settle a call in doubt",
        key="request_id",
        once="request_id",
    ),
    Operation(
        name="runs.signal",
        method="POST",
        path="/v1/runs/{run_id}/signals/{name}",
        request=api.RunSignal,
        answer=api.RunAnswer,
        tag="runs",
        summary="Hand something from outside to a run",
        notes="Two requests are two signals unless they carry the same key.",
        key="request_id",
        once="request_id",
        large="payload",
    ),
    Operation(
        name="runs.fork",
        method="POST",
        path="/v1/runs/{run_id}/fork",
        request=api.RunFork,
        answer=api.RunAnswer,
        tag="runs",
        summary="A new run that begins as this one did",
        notes="It has events 1 to `at` and goes on by itself; recorded answers are used unless `tools` says otherwise. The same "
        "`new_run_id` again is the same fork.",
        once="new_run_id",
        large="input",
    ),
    Operation(
        name="runs.redispatch",
        method="POST",
        path="/v1/runs/{run_id}/redispatch",
        request=api.Redispatch,
        answer=api.RedispatchAnswer,
        tag="runs",
        summary="Derive a run's outstanding work again",
    ),
    Operation(
        name="approvals.list",
        method="GET",
        path="/v1/approvals",
        request=api.ApprovalsList,
        answer=api.ApprovalPage,
        tag="approvals",
        summary="Approvals and questions that wait for somebody, or all",
    ),
    Operation(
        name="approvals.decide",
        method="POST",
        path="/v1/approvals/{approval_id}",
        request=api.ApprovalsDecide,
        answer=api.RunAnswer,
        tag="approvals",
        summary="Approve, deny, or answer",
        key="request_id",
        once="request_id",
    ),
    Operation(
        name="agents.list",
        method="GET",
        path="/v1/agents",
        request=api.NameList,
        answer=api.AgentPage,
        tag="agents and tools",
        summary="The agents, and the workers that host them now",
    ),
    Operation(
        name="tools.list",
        method="GET",
        path="/v1/tools",
        request=api.NameList,
        answer=api.ToolPage,
        tag="agents and tools",
        summary="The tools, the gateways that host them now, and their breakers",
    ),
    Operation(
        name="dead.list",
        method="GET",
        path="/v1/dead",
        request=api.DeadList,
        answer=api.DeadPage,
        tag="dead letters",
        summary="Messages that could not be handled, oldest first",
        cursor=("next_after", "after"),
    ),
    Operation(
        name="dead.show",
        method="GET",
        path="/v1/dead/{dead_id}",
        request=api.DeadRef,
        answer=api.DeadDetail,
        tag="dead letters",
        summary="A dead letter with its original bytes",
    ),
    Operation(
        name="dead.redrive",
        method="POST",
        path="/v1/dead/{dead_id}/redrive",
        request=api.DeadRef,
        answer=api.DeadView,
        tag="dead letters",
        summary="Publish a dead letter again to where it came from",
    ),
    Operation(
        name="dead.discard",
        method="POST",
        path="/v1/dead/{dead_id}/discard",
        request=api.DeadRef,
        answer=api.DeadView,
        tag="dead letters",
        summary="Remove a dead letter for good",
    ),
    Operation(
        name="payloads.get",
        method="GET",
        path="/v1/payloads/{sha256}",
        request=types.PayloadAsked,
        answer=None,
        tag="payloads",
        summary="A large value, by the digest in a reference to it",
        notes="The bytes are JSON. Whoever has the digest may have the value.",
        local=True,
        permission="payloads.get",
    ),
    Operation(
        name="audit.status",
        method="GET",
        path="/v1/audit",
        request=types.NothingAsked,
        answer=types.AuditStatus,
        tag="audit",
        summary="The audit log as it is, with its newest signed head",
        local=True,
        permission="audit.read",
    ),
    Operation(
        name="audit.heads",
        method="GET",
        path="/v1/audit/heads",
        request=types.HeadsAsked,
        answer=types.AuditHeads,
        tag="audit",
        summary="Signed heads of the audit log, oldest first",
        local=True,
        permission="audit.read",
        cursor=("next_after", "after"),
    ),
    Operation(
        name="audit.keys",
        method="GET",
        path="/v1/audit/keys",
        request=types.NothingAsked,
        answer=types.AuditKeys,
        tag="audit",
        summary="The keys that sign heads, the one in use last",
        local=True,
        permission="audit.read",
    ),
    Operation(
        name="audit.inclusion",
        method="GET",
        path="/v1/audit/proofs/{run_id}/{seq}",
        request=types.ProofOfEventAsked,
        answer=InclusionProof,
        tag="audit",
        summary="Proof that an event is in the log, with exactly these bytes",
        notes="`waypost audit verify --proof FILE --key KEY` checks it without a server.",
        local=True,
        permission="audit.read",
    ),
    Operation(
        name="audit.consistency",
        method="GET",
        path="/v1/audit/proofs",
        request=types.ProofOfGrowthAsked,
        answer=ConsistencyProof,
        tag="audit",
        summary="Proof that the log only grew between two signed heads",
        local=True,
        permission="audit.read",
    ),
)
