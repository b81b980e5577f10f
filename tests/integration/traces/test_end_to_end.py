"""Traces through real services and a real OTLP receiver: whole, once, and the same as an export made afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.chaos.stack import Stack, hosted, stack
from tests.integration.approvals.platform import approval_of
from tests.integration.traces.conftest import Tap
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.servers import EmbeddedPostgres
from waypost_proto.ids import span_id

MODULE = str(Path(__file__).with_name("desk.py"))
COMMANDS = {
    "coordinator": ["-m", "waypost_coordinator"],
    "worker": ["-m", "waypost_worker", MODULE],
    "gateway": ["-m", "waypost_gateway", MODULE],
    "audit": ["-m", "waypost_audit"],
}
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
Attributes = Callable[[Span], dict[str, object]]


@pytest.fixture(scope="module")
async def services(
    tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres: EmbeddedPostgres, postgres_template: str, tap: Tap
) -> AsyncIterator[Stack]:
    name = f"traces{uuid.uuid4().hex[:8]}"
    database = await postgres.create_database(name, template=postgres_template)
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": tap.url,
        "OTEL_METRICS_EXPORTER": "none",
        "WAYPOST_AUDIT_POLL_SECONDS": "0.3",
        "WAYPOST_TRACES_BATCH_MAX": "3",
        "WAYPOST_TRACES_CONTENT": "all",
    }
    folder = tmp_path_factory.mktemp("traces")
    async with stack(folder, nats_url=nats_url, postgres_url=database, commands=COMMANDS, environment=environment) as running:
        async with running.client() as client:
            await hosted(client)
        yield running
    await postgres.drop_database(name)


@pytest.fixture
async def client(services: Stack) -> AsyncIterator[Client]:
    async with services.client() as made:
        yield made


async def exported(services: Stack, run_id: str, *options: str) -> bytes:
    """What `waypost traces export` writes."""
    command = ["-m", "waypost_cli", "traces", "export", run_id, *options]
    environment = {**os.environ, **services.environment}
    process = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment, stdout=-1, stderr=-1)
    out, problem = await process.communicate()
    assert process.returncode == 0, problem.decode()
    return out


async def whole(tap: Tap, run_id: str) -> list[Span]:
    """The spans of a run that has ended, once its root has come."""
    root = span_id(run_id, 1)  # type: ignore[arg-type]
    await wait_until(lambda: any(span.span_id == root for span in tap.of(run_id)), message=lambda: str(tap.named(run_id)))
    return tap.of(run_id)


async def test_a_run_is_traced_as_it_goes(services: Stack, client: Client, tap: Tap, attributes: Attributes) -> None:
    run_id = (await client.start("clerk", "a-7", labels={"team": "kyc"})).run_id
    assert await client.result(run_id) == "account A-7"
    spans = await whole(tap, run_id)
    names = [span.name for span in spans]
    prefix = services.environment["WAYPOST_PREFIX"]
    for name in ("step _prepare", "execute_tool flaky", "wait retry", "wait timer", "invoke_agent helper", "invoke_workflow clerk"):
        assert names.count(name) == 1, names
    attempts = sorted((span for span in spans if span.name == f"process {prefix}.tools.flaky"), key=lambda span: span.start_time_unix_nano)
    assert [attributes(span)["waypost.attempt"] for span in attempts] == [1, 2]
    assert [span.status.code for span in attempts] == [2, 0]
    call = next(span for span in spans if span.name == "execute_tool flaky")
    sent = {span.span_id: span for span in spans if span.name == f"send {prefix}.tools.flaky"}
    assert [span.parent_span_id in sent for span in attempts] == [True, True]
    assert {span.parent_span_id for span in sent.values()} == {call.span_id}
    assert {(span.kind, attributes(span)["messaging.destination.template"]) for span in sent.values()} == {(4, f"{prefix}.tools.{{tool}}")}
    assert json.loads(str(attributes(call)["gen_ai.tool.call.arguments"])) == {"account": "A-7"}
    told = [line.split() for line in services.effects_file.read_text().splitlines()]
    assert [(int(attempt), trace.split("-")[1:3]) for run, attempt, trace in told if run == run_id] == [
        (number, [span.trace_id.hex(), span.span_id.hex()]) for number, span in enumerate(attempts, 1)
    ], "the tool was given the span of its attempt"
    root = next(span for span in spans if span.name == "invoke_workflow clerk")
    assert attributes(root)["waypost.label.team"] == "kyc"
    assert attributes(root)["waypost.run.status"] == "completed"
    assert all(span.parent_span_id in {other.span_id for other in spans} for span in spans if span is not root)
    request = ExportTraceServiceRequest.FromString(await exported(services, run_id, "--format", "otlp-proto"))
    again = {span.span_id: span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans}
    assert again == {span.span_id: span for span in spans}, "an export from the log is what was sent"
    child = str(attributes(next(span for span in spans if span.name == "invoke_agent helper"))["waypost.child_run_id"])
    link = next(span for span in await whole(tap, child) if not span.parent_span_id).links[0]
    assert (link.trace_id, link.span_id) == (root.trace_id, next(s.span_id for s in spans if s.name == "invoke_agent helper"))


async def test_a_thought_process_can_be_read(services: Stack, client: Client, tap: Tap, attributes: Attributes) -> None:
    run_id = (await client.start("analyst", "how is a-1?")).run_id
    await client.result(run_id)
    spans = {span.name: span for span in await whole(tap, run_id)}
    plans = [span for span in tap.of(run_id) if span.name == "plan analyst"]
    first = next(span for span in plans if attributes(span)["waypost.tool_calls"] == 1)
    assert attributes(first)["waypost.intent"] == "I look at the account first."
    assert spans["execute_tool flaky"].parent_span_id == first.span_id
    assert {span.parent_span_id for span in tap.of(run_id) if span.name == "chat scripted"} == {span.span_id for span in plans}
    assert "invoke_agent analyst" in spans
    assert attributes(spans["chat scripted"])["gen_ai.usage.input_tokens"]


async def test_a_wait_is_seen_while_it_lasts_and_who_ended_it(services: Stack, client: Client, tap: Tap, attributes: Attributes) -> None:
    run_id = (await client.start("payer", 5)).run_id
    approval = await approval_of(client, run_id)
    lines = [json.loads(line) for line in (await exported(services, run_id, "--format", "lines", "--pending")).splitlines()]
    waiting = {line["name"]: line for line in lines}["wait approval"]
    assert {"key": "waypost.pending", "value": {"boolValue": True}} in waiting["attributes"]
    await client.approve(approval.approval_id, by="ann", roles=["officer"])
    assert await client.result(run_id) == "paid 5"
    ended = next(span for span in await whole(tap, run_id) if span.name == "wait approval")
    assert ended.span_id.hex() == waiting["spanId"], "the same span, before and after"
    assert attributes(ended)["waypost.decision"] == "granted"


async def test_the_caller_is_linked(services: Stack, client: Client, tap: Tap) -> None:
    task = json.dumps({"input": "x"}).encode()
    subject = f"{services.environment['WAYPOST_PREFIX']}.tasks.helper"
    await client._bus.publish(subject, task, headers={"traceparent": CALLER})  # type: ignore[union-attr]
    linked = await wait_until(lambda: next((s for s in tap.spans if s.links and s.links[0].trace_id.hex() == CALLER.split("-")[1]), None))
    assert linked is not None
    assert linked.links[0].span_id.hex() == CALLER.split("-")[2]
    assert linked.parent_span_id == b""


@pytest.mark.crash
async def test_killed_at_every_turn_no_span_is_missing(services: Stack, client: Client, tap: Tap) -> None:
    await services.kill("audit")
    runs = []
    for fault in ("audit.traces.before:2", "audit.traces.after:2", "audit.traces.before:1"):
        runs.append((await client.start("clerk", f"a-{len(runs)}")).run_id)
        await services.start("audit", faults=fault)
        await services.died("audit", seconds=40)
    await services.start("audit")
    for run_id in runs:
        await client.result(run_id)
        spans = await whole(tap, run_id)
        request = ExportTraceServiceRequest.FromString(await exported(services, run_id, "--format", "otlp-proto"))
        again = {span.span_id: span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans}
        assert again == {span.span_id: span for span in spans}
    sent = [span.SerializeToString(deterministic=True) for span in tap.spans]
    assert len(set(sent)) == len({(span.trace_id, span.span_id) for span in tap.spans}), "what was sent twice was the same"


async def test_a_collector_that_is_away_holds_nobody_up(services: Stack, client: Client, tap: Tap) -> None:
    await tap.close()
    run_id = (await client.start("clerk", "a-9")).run_id
    assert await client.result(run_id) == "account A-9", "the run does not wait for its trace"
    await tap.open()
    assert "invoke_workflow clerk" in [span.name for span in await whole(tap, run_id)]
