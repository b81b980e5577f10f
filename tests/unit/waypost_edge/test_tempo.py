"""The edge as Grafana's Tempo data source asks it: the requests that it documents and sends, over HTTP, on a store in memory."""

from __future__ import annotations

import asyncio
import base64
import json
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from msgspec import Raw
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from starlette.routing import Mount

from tests.conformance.store.rows import run_row
from waypost_edge.app import application
from waypost_edge.auth import Authenticator
from waypost_edge.metrics import Metrics
from waypost_edge.serving import listen, serve_http
from waypost_edge.tempo.reading import Reading
from waypost_edge.tempo.routes import Tempo
from waypost_io.identities import Identities
from waypost_io.identity import new_token
from waypost_io.lifecycle import Stop
from waypost_io.servers import free_port
from waypost_io.store.memory import MemoryStore
from waypost_io.store.ports import EventRow
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.errors import Misconfigured
from waypost_proto.ids import CallId, RunId, uuid7
from waypost_proto.task import format_time
from waypost_proto.values import Effect, Failure, Mark

NOW = 1_800_000_000.0


@dataclass
class Edge:
    """A serving edge, and the log behind it."""

    store: MemoryStore
    port: int
    count: int = 0

    def run(
        self, agent: str = "desk", *, ago: float = 60.0, tool: str = "pay", tenant: str = "default", ends: bool = True, fails: bool = False
    ) -> RunId:
        """A run with one tool call that took 2 s. Without `ends` it waits for the call."""
        self.count += 1
        at = NOW - ago
        run_id = uuid7(int(at * 1000), self.count.to_bytes(10, "big"))
        call = CallId("0:1")
        data: list[ev.Data] = [
            ev.RunStarted(input=Raw(b"1"), labels={"team": agent}, known=True),
            ev.ToolCallRequested(
                call_id=call, tool=tool, args=Raw(b"{}"), args_digest="d", idempotency_key="k", effect=Effect.READ,
                seen=1, mark=Mark(digest="m", seen=1, worker="w", build="b"),
            ),
        ]  # fmt: skip
        if ends:
            error = Failure(type="Boom", message="it broke")
            data.append(
                ev.ToolCallFailed(call_id=call, tool=tool, attempt=1, error=error)
                if fails
                else ev.ToolCallCompleted(call_id=call, tool=tool, attempt=1)
            )
            data.append(ev.RunFailed(error=error) if fails else ev.RunCompleted(result=Raw(b"2")))
        events = {}
        for seq, each in enumerate(data, 1):
            kind = str(type(each).__struct_config__.tag)
            stamp = at + (2.0 if seq > 2 else 0.0)
            body = encode(
                ev.Event(
                    run_id=run_id,
                    seq=seq,
                    type=kind,
                    agent=agent,
                    correlation_id="c",
                    recorded_at=format_time(stamp),
                    tenant=tenant,
                    data=Raw(encode(each)),
                )
            )
            events[seq] = EventRow(run_id, seq, kind, 0, seq, stamp, body)
        status = "waiting" if not ends else "failed" if fails else "completed"
        self.store.database.events[run_id] = events
        self.store.database.runs[run_id] = run_row(
            run_id,
            len(data),
            agent=agent,
            tenant=tenant,
            status=status,
            open=not ends,
            created_at=at,
            updated_at=at + 2.0,
            labels={"team": agent},
        )
        return run_id

    async def get(self, path: str, *, accept: str = "application/json", token: str = "", **query: str) -> tuple[int, bytes]:
        """Status and body."""
        url = f"http://127.0.0.1:{self.port}/tempo{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, **({"Authorization": token} if token else {})}
        return await asyncio.to_thread(_fetch, urllib.request.Request(url, headers=headers))

    async def json(self, path: str, **query: str) -> Any:
        status, body = await self.get(path, **query)
        assert status == 200, body
        return json.loads(body)

    async def found(self, q: str = "", **query: str) -> set[str]:
        """The traces that a search finds."""
        return {trace["traceID"] for trace in (await self.json("/api/search", **({"q": q} if q else {}), **query))["traces"]}


def _fetch(request: urllib.request.Request) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@asynccontextmanager
async def serving(identities: Identities | None = None, *, look_at: int = 500, max_events: int = 50_000) -> AsyncIterator[Edge]:
    store = MemoryStore(lambda: NOW)
    edge = Edge(store, free_port())
    address = f"127.0.0.1:{edge.port}"
    metrics = Metrics()
    reading = Reading(traces=store.traces, resource={"service.namespace": "waypost"}, clock=lambda: NOW, max_events=max_events)
    auth = Authenticator(identities or Identities(None), "auto", address, lambda: NOW)
    tempo = Tempo(store=store, reading=reading, auth=auth, metrics=metrics, version="1", look_at=look_at)
    stop = Stop()
    serving = asyncio.create_task(
        serve_http(application([Mount("/tempo", routes=tempo.routes())], metrics), listen(address), stop, drain_seconds=1)
    )
    try:
        yield edge
        assert "waypost_edge_requests_total" in metrics.registry.render().decode()
    finally:
        stop.request("end of the test")
        await serving


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with serving() as edge:
        yield edge


def hexed(run_id: RunId) -> str:
    return run_id.replace("-", "")


def attributes(span: Mapping[str, Any]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values())) for pair in span["attributes"]}


async def test_the_health_check_and_the_version(edge: Edge) -> None:
    assert await edge.get("/api/echo") == (200, b"echo")
    assert (await edge.json("/api/status/buildinfo"))["version"] >= "2.2.0"


async def test_a_trace_by_id_in_protobuf_as_grafana_asks(edge: Edge) -> None:
    run_id = edge.run()
    status, body = await edge.get(f"/api/traces/{hexed(run_id)}", accept="application/protobuf", start="1", end="2")
    assert status == 200
    spans = [span for part in TracesData.FromString(body).resource_spans for scope in part.scope_spans for span in scope.spans]
    assert {span.name for span in spans} >= {"invoke_workflow desk", "execute_tool pay", "process waypost.tools.pay"}
    status, wrapped = await edge.get(f"/api/v2/traces/{hexed(run_id)}", accept="application/protobuf")
    assert wrapped.endswith(body)
    assert wrapped[0] == 0x0A, "TraceByIDResponse.trace"


async def test_a_trace_by_id_in_json(edge: Edge) -> None:
    run_id = edge.run()
    batches = (await edge.json(f"/api/traces/{hexed(run_id)}"))["batches"]
    names = {attributes(batch["resource"])["service.name"] for batch in batches}
    assert names == {"waypost-coordinator", "waypost-gateway", "waypost-worker"}
    assert (await edge.json(f"/api/v2/traces/{run_id}"))["trace"]["resourceSpans"] == batches
    assert {span["traceId"] for batch in batches for scope in batch["scopeSpans"] for span in scope["spans"]} == {hexed(run_id)}


async def test_a_run_that_waits_is_seen_waiting(edge: Edge) -> None:
    run_id = edge.run(ends=False, ago=30)
    batches = (await edge.json(f"/api/traces/{hexed(run_id)}"))["batches"]
    spans = {span["name"]: span for batch in batches for scope in batch["scopeSpans"] for span in scope["spans"]}
    root = spans["invoke_workflow desk"]
    assert attributes(root)["waypost.pending"] is True
    assert int(root["endTimeUnixNano"]) == int(NOW * 1e9)
    assert attributes(spans["process waypost.work.desk"]).get("waypost.pending") is None


@pytest.mark.parametrize("asked", ["nonsense", "0" * 32, "f" * 33, "018bcfe5687b70008000000000000000"])
async def test_what_is_no_trace(edge: Edge, asked: str) -> None:
    status, body = await edge.get(f"/api/traces/{asked}")
    assert status == 404
    assert json.loads(body)["title"] == "Not Found"


async def test_a_trace_with_more_events_than_an_answer_is_cut_and_says_so() -> None:
    async with serving(max_events=2) as edge:
        run_id = edge.run()
        answer = await edge.json(f"/api/v2/traces/{hexed(run_id)}")
        assert (answer["status"], "WAYPOST_TRACES_MAX_EVENTS" in answer["message"]) == ("PARTIAL", True)
    async with serving(max_events=4) as edge:
        assert "status" not in await edge.json(f"/api/v2/traces/{hexed(edge.run())}")


async def test_searches_by_what_spans_have(edge: Edge) -> None:
    paid, failed, other = edge.run(), edge.run(fails=True), edge.run("intake", tool="look")
    everything = {hexed(paid), hexed(failed), hexed(other)}
    assert await edge.found() == everything
    assert await edge.found("{}") == everything
    assert await edge.found('{ span.gen_ai.tool.name = "pay" }') == {hexed(paid), hexed(failed)}
    assert await edge.found('{ span.gen_ai.tool.name = "pay" && status = error }') == {hexed(failed)}
    assert await edge.found('{ span.gen_ai.agent.name = "intake" }') == {hexed(other)}
    assert await edge.found('{ rootName = "invoke_workflow intake" }') == {hexed(other)}
    assert await edge.found('{ resource.service.name = "waypost-gateway" && duration >= 2s }') == everything
    assert await edge.found('{ resource.service.name = "waypost-gateway" && name = "execute_tool pay" }') == set(), (
        "one span must have it all"
    )
    assert await edge.found('{ span.waypost.label.team = "desk" && nestedSetParent < 0 }') == {hexed(paid), hexed(failed)}
    assert await edge.found('{ span.waypost.run.status = "failed" }') == {hexed(failed)}
    assert await edge.found("{ duration > 3s }") == set()
    assert await edge.found("{ false }") == set()
    assert await edge.found(f'{{ trace:id = "{hexed(paid)}" }}') == {hexed(paid)}


async def test_searches_by_tags_and_durations(edge: Edge) -> None:
    paid, other = edge.run(), edge.run("intake", tool="look")
    assert await edge.found(tags="gen_ai.tool.name=PAY") == {hexed(paid)}
    assert await edge.found(tags='name="execute_tool look" service.name=waypost') == {hexed(other)}
    assert await edge.found(minDuration="1s", maxDuration="3s") == {hexed(paid), hexed(other)}
    assert await edge.found(minDuration="2500ms") == set()
    assert await edge.found(maxDuration="1s") == set()


async def test_searches_in_time(edge: Edge) -> None:
    recent, old, waiting = edge.run(ago=60), edge.run(ago=7_200), edge.run(ago=7_200, ends=False)
    assert await edge.found(start=str(int(NOW) - 3_600), end=str(int(NOW))) == {hexed(recent), hexed(waiting)}, "what still waits is there"
    assert await edge.found(start=str(int(NOW) - 9_000), end=str(int(NOW) - 3_600)) == {hexed(old), hexed(waiting)}


async def test_the_shape_of_a_search_answer(edge: Edge) -> None:
    run_id = edge.run(fails=True)
    answer = await edge.json("/api/search", q="{ status = error } | select(span.gen_ai.tool.name)", limit="5", spss="1")
    trace = answer["traces"][0]
    assert (trace["traceID"], trace["rootTraceName"], trace["rootServiceName"]) == (
        hexed(run_id),
        "invoke_workflow desk",
        "waypost-coordinator",
    )
    assert (trace["durationMs"], trace["startTimeUnixNano"]) == (2_000, str(int((NOW - 60) * 1e9)))
    spans = trace["spanSets"][0]
    assert (len(spans["spans"]), spans["matched"]) == (1, 3)
    assert attributes(spans["spans"][0])["status"] == "error"
    assert trace["serviceStats"]["waypost-gateway"] == {"spanCount": 1, "errorCount": 1}
    assert answer["metrics"]["inspectedTraces"] == 1


async def test_searches_are_bounded_and_say_that_there_may_be_more() -> None:
    async with serving(look_at=3) as edge:
        runs = [edge.run(ago=100 - number) for number in range(5)]
        answer = await edge.json("/api/search", q='{ span.gen_ai.tool.name = "none" }')
        assert answer["traces"] == []
        assert answer["metrics"]["inspectedTraces"] == 3
        assert answer["metrics"]["completedJobs"] < answer["metrics"]["totalJobs"]
        assert await edge.found(limit="2") == {hexed(runs[4]), hexed(runs[3])}, "the newest"


async def test_names_of_tags(edge: Edge) -> None:
    edge.run()
    v1 = (await edge.json("/api/search/tags"))["tagNames"]
    assert {"service.name", "gen_ai.tool.name", "waypost.label.team"} <= set(v1)
    scopes = {
        scope["name"]: scope["tags"] for scope in (await edge.json("/api/v2/search/tags", limit="5000", start="1", end="2"))["scopes"]
    }
    assert "gen_ai.request.model" in scopes["span"]
    assert scopes["resource"] == ["service.name", "service.namespace", "service.version"]
    assert "status" in scopes["intrinsic"]
    only = (await edge.json("/api/v2/search/tags", scope="resource"))["scopes"]
    assert [scope["name"] for scope in only] == ["resource"]


async def test_values_of_tags(edge: Edge) -> None:
    edge.run()
    edge.run("intake", tool="look")

    async def values(field: str, **query: str) -> list[tuple[str, str]]:
        answer = await edge.json(f"/api/v2/search/tag/{quote(field, safe='')}/values", **query)
        return [(value["type"], value["value"]) for value in answer["tagValues"]]

    assert await values("span.gen_ai.tool.name") == [("string", "look"), ("string", "pay")]
    assert await values("resource.service.name") == [("string", f"waypost-{name}") for name in ("coordinator", "gateway", "worker")]
    assert ("keyword", "error") in await values("status")
    assert ("string", "execute_tool pay") in await values("name")
    assert await values("span.waypost.attempt") == [("int", "1")]
    assert await values("span.gen_ai.tool.name", q='{ span.gen_ai.agent.name = "intake" }') == [("string", "look")]
    assert await values("span.gen_ai.tool.name", q="{ span.gen_ai.agent.name = }") == [("string", "look"), ("string", "pay")]
    assert (await edge.json("/api/search/tag/service.name/values"))["tagValues"] == [
        "waypost-coordinator",
        "waypost-gateway",
        "waypost-worker",
    ]
    assert (await edge.json("/api/search/tag/status/values"))["tagValues"] == ["error", "ok", "unset"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/search", {"q": '{ name = "a" || name = "b" }'}),
        ("/api/search", {"q": "{ rate }"}),
        ("/api/search", {"limit": "many"}),
        ("/api/search", {"start": "yesterday"}),
        ("/api/search", {"minDuration": "5"}),
        ("/api/search", {"tags": "=x"}),
        ("/api/search", {"colour": "red"}),
        ("/api/search/tags", {"scope": "moon"}),
        ("/api/v2/search/tag/nonsense/values", {}),
        ("/api/metrics/query_range", {"q": "{ } | rate()"}),
        ("/api/overrides", {}),
    ],
)
async def test_what_is_not_understood_is_a_400_that_says_what(edge: Edge, path: str, query: dict[str, str]) -> None:
    status, body = await edge.get(path, **query)
    answer = json.loads(body)
    assert status == 400, answer
    assert answer["status"] == 400
    assert len(answer["detail"]) > 20


async def test_with_identities_a_token_is_needed_and_shows_its_own_tenant(tmp_path: Path) -> None:
    token, key = new_token()
    file = tmp_path / "identities.toml"
    file.write_text(f'[[identity]]\nsubject = "grafana"\nkey = "{key}"\nroles = ["auditor"]\ntenant = "bank"\n')
    async with serving(Identities(file)) as edge:
        ours, theirs = edge.run(tenant="bank"), edge.run(tenant="other")
        assert (await edge.get("/api/echo"))[0] == 401
        assert (await edge.get("/api/echo", token="Bearer nonsense"))[0] == 401
        assert (await edge.get("/api/echo", token=f"Bearer {new_token()[0]}"))[0] == 401
        assert (await edge.get(f"/api/traces/{hexed(ours)}"))[0] == 401
        bearer, basic = f"Bearer {token}", f"Basic {base64.b64encode(f'any:{token}'.encode()).decode()}"
        for way in (bearer, basic):
            assert (await edge.get(f"/api/traces/{hexed(ours)}", token=way))[0] == 200
        assert (await edge.get(f"/api/traces/{hexed(theirs)}", token=bearer))[0] == 404
        found = json.loads((await edge.get("/api/search", token=bearer))[1])
        assert {trace["traceID"] for trace in found["traces"]} == {hexed(ours)}


@pytest.mark.parametrize(
    ("mode", "address", "refused"),
    [("auto", "0.0.0.0:1", True), ("off", "0.0.0.0:1", False), ("auto", "[::1]:1", False), ("required", "127.0.0.1:1", True)],
)
def test_who_may_read_without_identities(mode: Any, address: str, refused: bool) -> None:
    def make() -> Authenticator:
        return Authenticator(Identities(None), mode, address, lambda: NOW)

    if refused:
        with pytest.raises(Misconfigured, match="WAYPOST_"):
            make()
    else:
        assert not make().required


async def test_two_requests_at_once(edge: Edge) -> None:
    runs = [edge.run() for _ in range(5)]
    answers = await asyncio.gather(*(edge.get(f"/api/traces/{hexed(run)}") for run in runs))
    assert [status for status, _ in answers] == [200] * 5
