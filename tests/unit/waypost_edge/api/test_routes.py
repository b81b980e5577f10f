"""Every route over HTTP: what it asks, what it answers, and errors as problem details."""

from __future__ import annotations

import pytest
from msgspec import Raw

from tests.unit.waypost_edge.api.rig import Edge
from waypost_edge.api.operations import OPERATIONS
from waypost_proto import catalogue
from waypost_proto.api import AgentView
from waypost_proto.events import RunCompleted
from waypost_proto.ids import RunId
from waypost_proto.registry import AgentDefinition

MISSING = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"


async def test_a_run_from_its_start_to_its_end(edge: Edge) -> None:
    answer = await edge.http.post("/v1/runs", json={"agent": "desk", "input": {"a": 1}, "labels": {"team": "ops"}})
    assert answer.status_code == 201
    run_id = RunId(answer.json()["run_id"])
    assert answer.headers["location"] == f"/v1/runs/{run_id}"
    assert (await edge.get(f"/v1/runs/{run_id}"))["labels"] == {"team": "ops"}
    await edge.desk.play(run_id, RunCompleted(result=Raw(b'"done"')))
    view = await edge.get(f"/v1/runs/{run_id}")
    assert (view["status"], view["result"]) == ("completed", "done")
    page = await edge.get(f"/v1/runs/{run_id}/events")
    assert [event["type"] for event in page["events"]] == ["run_started", "run_completed"]


async def test_the_same_key_starts_one_run(edge: Edge) -> None:
    body = {"agent": "desk", "input": None}
    first = await edge.post("/v1/runs", body, 201, idempotency_key="k-1")
    again = await edge.post("/v1/runs", body, 200, idempotency_key='"k-1"')
    assert again["run_id"] == first["run_id"]
    assert again["duplicate"]
    assert "differ" in await edge.post("/v1/runs", {**body, "idempotency_key": "other"}, 400, idempotency_key="k-1")
    assert "Idempotency-Key" in await edge.post("/v1/runs", body, 400, idempotency_key="x" * 257)


async def test_a_command_with_a_key_is_done_once(edge: Edge) -> None:
    run_id = await edge.desk.started()
    assert (await edge.post(f"/v1/runs/{run_id}/pause", {"reason": "look"}, idempotency_key="p-1"))["status"] == "paused"
    await edge.post(f"/v1/runs/{run_id}/pause", None, idempotency_key="p-1")
    assert [mail.request_id for mail in edge.desk.submitted] == ["p-1", "p-1"]
    assert (await edge.post(f"/v1/runs/{run_id}/resume"))["status"] != "paused"
    assert "unknown field 'budget'" in await edge.post(f"/v1/runs/{run_id}/cancel", {"budget": {"max_steps": 1}}, 422)
    assert (await edge.post(f"/v1/runs/{run_id}/cancel", {"by": "ann"}))["status"] == "cancelled"


async def test_a_large_input_is_stored_by_itself_and_comes_back(edge: Edge) -> None:
    text = "x" * 700_000
    run_id = (await edge.post("/v1/runs", {"agent": "desk", "input": text}, 201))["run_id"]
    [started] = (await edge.get(f"/v1/runs/{run_id}/events"))["events"]
    ref = started["data"]["input_ref"]
    assert await edge.get(f"/v1/payloads/{ref['sha256']}") == text
    assert "SHA-256" in await edge.get("/v1/payloads/zz", 400)
    await edge.get(f"/v1/payloads/{'0' * 64}", 404)


async def test_pages_name_the_next_one(edge: Edge) -> None:
    for _ in range(3):
        await edge.desk.started()
    answer = await edge.http.get("/v1/runs?limit=2&agent=desk")
    link = answer.headers["link"]
    assert link.endswith('>; rel="next"')
    rest = (await edge.http.get(link[1 : link.index(">")])).json()
    assert len({run["run_id"] for run in answer.json()["runs"] + rest["runs"]}) == 3
    assert rest.get("next_before") is None


async def test_labels_in_the_query(edge: Edge) -> None:
    run_id = await edge.desk.started(labels={"team": "ops"})
    await edge.desk.started(labels={"team": "dev"})
    for query in ("label.team=ops", "label=team=ops"):
        assert [run["run_id"] for run in (await edge.get(f"/v1/runs?{query}"))["runs"]] == [run_id]
    assert "label.team=ops" in await edge.get("/v1/runs?label=ops", 400)


async def test_a_signal_carries_a_payload(edge: Edge) -> None:
    run_id = await edge.desk.started()
    await edge.post(f"/v1/runs/{run_id}/signals/docs", {"payload": {"count": 3}})
    assert "in the path" in await edge.post(f"/v1/runs/{run_id}/signals/docs", {"name": "other"}, 422)
    [event] = [found for found in (await edge.get(f"/v1/runs/{run_id}/events"))["events"] if found["type"] != "run_started"]
    assert event["data"]["payload"] == {"count": 3}


async def test_agents_and_tools(edge: Edge) -> None:
    edge.desk.hosts.agents = [AgentView(definition=AgentDefinition(name="desk", build="b", input_schema=Raw(b"{}")))]
    edge.desk.hosts.tools = []
    assert [agent["definition"]["name"] for agent in (await edge.get("/v1/agents"))["agents"]] == ["desk"]
    assert await edge.get("/v1/tools") == {"tools": []}


async def test_dead_letters(edge: Edge) -> None:
    assert await edge.get("/v1/dead") == {"dead": []}
    await edge.get("/v1/dead/7", 404)
    await edge.get("/v1/dead/seven", 400)
    await edge.post("/v1/dead/7/discard", None, 404)
    await edge.post("/v1/dead/7/redrive", None, 404)


async def test_the_audit_log(edge: Edge) -> None:
    run_id = await edge.desk.started()
    assert (await edge.get("/v1/audit"))["leaves"] == 0
    assert await edge.get("/v1/audit/heads") == {"heads": [], "next_after": None}
    assert await edge.get("/v1/audit/keys") == {"keys": []}
    assert "not in the audit log" in await edge.get(f"/v1/audit/proofs/{run_id}/1", 404)
    assert "no run" in await edge.get(f"/v1/audit/proofs/{MISSING}/1", 404)
    assert "no signed head" in await edge.get("/v1/audit/proofs?old=1", 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "says"),
    [
        ("GET", "/v1/nothing", None, {}, 404, ""),
        ("GET", f"/v1/runs/{MISSING}", None, {}, 404, "no run"),
        ("GET", "/v1/runs/../../etc", None, {}, 404, ""),
        ("GET", "/v1/runs/abc", None, {}, 400, "UUIDv7"),
        ("GET", "/v1/runs?agnet=x", None, {}, 400, "did you mean 'agent'"),
        ("GET", "/v1/runs?limit=0", None, {}, 400, "limit 0"),
        ("GET", "/v1/runs?limit=x", None, {}, 400, "int"),
        ("GET", "/v1/runs?limit=1&limit=2", None, {}, 400, "twice"),
        ("DELETE", "/v1/runs", None, {}, 405, "GET, HEAD, OPTIONS, POST"),
        ("PUT", "/openapi.json", None, {}, 405, "GET"),
        ("GET", "/v1/runs", None, {"accept": "text/html"}, 406, "text/html"),
        ("POST", "/v1/runs", b'{"agent":"a","input":1}', {"content-type": "text/plain"}, 415, "text/plain"),
        ("POST", "/v1/runs", b"{", {}, 400, "no JSON"),
        ("POST", "/v1/runs", b"[]", {}, 422, "object"),
        ("POST", "/v1/runs", b"[" * 5_000, {}, 400, "nested"),
        ("POST", "/v1/runs", b'{"agent":7,"input":1}', {}, 422, "agent"),
        ("POST", "/v1/runs", b'{"agnt":"a","input":1}', {}, 422, "did you mean 'agent'"),
        ("POST", "/v1/runs", b'{"agent":"A b","input":1}', {}, 400, "agent name"),
        ("POST", "/v1/runs", b'\xff{"agent"', {}, 400, "UTF-8"),
        ("POST", "/v1/runs?agent=a", b"{}", {}, 400, "in the body"),
        ("POST", f"/v1/runs/{MISSING}/pause", b"x" * 600_000, {}, 413, "limit"),
    ],
)
async def test_what_is_wrong_is_said(
    edge: Edge, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int, says: str
) -> None:
    sent = {"content-type": "application/json", **headers} if body is not None else headers
    answer = await edge.http.request(method, path, content=body, headers=sent)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    if status == 405:
        assert answer.headers["allow"]


async def test_head_and_options(edge: Edge) -> None:
    head = await edge.http.head("/v1/runs")
    assert (head.status_code, head.content) == (200, b"")
    options = await edge.http.options("/v1/runs")
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")


def test_every_operation_of_the_coordinator_is_there() -> None:
    there = {operation.name for operation in OPERATIONS}
    missing = {f"{endpoint.noun}.{endpoint.verb}" for endpoint in catalogue.ENDPOINTS} - there
    assert missing == {"payloads.put"}, "large values are stored by the edge itself"
    messages = {f"{endpoint.noun}.{endpoint.verb}": (endpoint.request, endpoint.answer) for endpoint in catalogue.ENDPOINTS}
    for operation in OPERATIONS:
        if not operation.local:
            assert (operation.sends or operation.request, operation.answer) == messages[operation.name]


async def test_the_document_names_every_operation(edge: Edge) -> None:
    document = await edge.get("/openapi.json")
    assert document["openapi"] == "3.1.0"
    named = {made["operationId"] for methods in document["paths"].values() for made in methods.values()}
    assert named >= {operation.name.replace(".", "_") for operation in OPERATIONS}


async def test_a_limit_that_cannot_be_is_refused_before_it_reaches_a_run(edge: Edge) -> None:
    body = {"agent": "desk", "input": None, "budget": {"max_cost_usd": 1e300}}
    assert "9000000000" in await edge.post("/v1/runs", body, 422)
