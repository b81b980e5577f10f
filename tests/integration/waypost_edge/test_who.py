"""Who may do what by HTTP, with everything running behind the edge: every endpoint, tenants, revoking, people of an issuer."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.approvals.platform import Platform, approval_of, platform
from tests.unit.waypost_edge.fake_issuer import FakeIssuer
from tests.unit.waypost_edge.test_webhooks import SECRET, Endpoint
from tests.waiting import wait_until
from waypost_edge.api.operations import OPERATIONS
from waypost_io.identity import new_token
from waypost_io.permissions import PERMISSIONS
from waypost_io.servers import free_port
from waypost_proto.errors import NotAuthenticated
from waypost_proto.ids import uuid7

pytestmark = pytest.mark.slow
PEOPLE = {"sam": ["submitter"], "ann": ["officer"], "olga": ["operator", "auditor"], "svc": ["service"]}
NOWHERE = str(uuid7(1_700_000_000_000, bytes(10)))


class Site:
    """The edge of a platform. `tokens` by person, also of those whom `more` adds."""

    def __init__(self, desk: Platform, url: str, issuer: FakeIssuer) -> None:
        self.desk, self.url, self.issuer = desk, url, issuer
        self.http = httpx.AsyncClient(base_url=url, timeout=20)
        self.endpoint: Endpoint | None = None

    async def ask(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """By a person's token, by a JWT, or by nobody."""
        token = self.desk.tokens.get(who, who)
        given = {"authorization": f"Bearer {token}"} if token else {}
        content = b"" if body is None else json.dumps(body).encode()
        kind = {} if body is None else {"content-type": "application/json"}
        answer = await self.http.request(method, path, content=content, headers={**given, **kind, **headers})
        return answer.status_code, answer.json() if "json" in answer.headers.get("content-type", "") else answer.text

    def jwt(self, person: str, *groups: str) -> str:
        now = time.time()
        return self.issuer.token(email=person, groups=list(groups), iat=now - 5, exp=now + 600)


@asynccontextmanager
async def opened(path: Path, nats_url: str, postgres_url: str) -> AsyncIterator[Site]:
    people = path / "identities.toml"
    with FakeIssuer() as issuer:
        async with platform(path, nats_url=nats_url, postgres_url=postgres_url, people=PEOPLE) as desk:
            entries = []
            for subject, more in {
                "edge": 'roles = ["delegate"]\nbehalf_roles = ["officer", "submitter"]',
                "bea": 'roles = ["submitter", "operator", "officer", "auditor"]\ntenant = "bank"',
                "late": 'roles = ["admin"]\nexpires = 2020-01-01T00:00:00Z',
            }.items():
                desk.tokens[subject], key = new_token()
                entries.append(f'\n[[identity]]\nsubject = "{subject}"\nkey = "{key}"\n{more}\n')
            people.write_text(people.read_text() + "".join(entries))
            (path / "edge.token").write_text(desk.tokens["edge"])
            (path / "edge.token").chmod(0o600)
            (path / "oidc.toml").write_text(
                f'[[issuer]]\nissuer = "{issuer.url}"\naudience = ["waypost"]\nsubject = "email"\n'
                '[issuer.roles]\n"officers" = ["officer"]\n"starters" = ["submitter"]\n"bosses" = ["admin"]\n'
            )
            endpoint = Endpoint(500, 204)
            (path / "webhooks.toml").write_text(
                f'[[webhook]]\nname = "bank"\nurl = "http://127.0.0.1:{endpoint.port}/x"\nallow = ["127.0.0.1:{endpoint.port}"]\n'
                'secret_env = "HOOK_SECRET"\ntenant = "bank"\ntypes = ["run_cancelled"]\n'
            )
            port = free_port()
            desk.environment |= {
                "WAYPOST_HTTP_ADDR": f"127.0.0.1:{port}",
                "WAYPOST_API_TOKEN_FILE": str(path / "edge.token"),
                "WAYPOST_OIDC_FILE": str(path / "oidc.toml"),
                "WAYPOST_EDGE_RATE": "0",
                "WAYPOST_WEBHOOKS_FILE": str(path / "webhooks.toml"),
                "HOOK_SECRET": SECRET,
                "WAYPOST_EDGE_FAILURES": "0",
            }
            await desk.start("waypost_edge")
            site = Site(desk, f"http://127.0.0.1:{port}", issuer)
            site.endpoint = endpoint

            async def up() -> bool:
                return (await site.ask("ann", "GET", "/v1/agents"))[0] == 200

            await wait_until(up, ignore=(httpx.TransportError,), message=desk.log)
            try:
                yield site
            finally:
                await site.http.aclose()
                endpoint.server.shutdown()
                endpoint.server.server_close()


@pytest.fixture(scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres_url: str) -> AsyncIterator[Site]:
    async with opened(tmp_path_factory.mktemp("who"), nats_url, postgres_url) as site:
        yield site


def requests(run_id: str, approval_id: str = "ap-x") -> Mapping[str, tuple[str, str, Any]]:
    """A request of each operation about this run: (method, path, body)."""
    values = {"run_id": run_id, "approval_id": approval_id, "name": "go", "dead_id": "1", "sha256": "a" * 64, "call_id": "c1", "seq": "1"}
    bodies = {
        "runs.start": {"agent": "payer", "input": {"amount": 1}},
        "approvals.decide": {"decision": "approve"},
        "runs.resolve": {"call_id": "c1", "outcome": "not_done"},
        "runs.fork": {"at": 1},
    }
    found = {}
    for operation in OPERATIONS:
        path = re.sub(r"{(\w+)}", lambda match: values[match[1]], operation.path)
        found[operation.name] = (operation.method, path, bodies.get(operation.name, {}) if operation.method == "POST" else None)
    return found


async def test_every_endpoint_with_missing_expired_foreign_and_underprivileged_tokens(site: Site) -> None:
    for name, (method, path, body) in requests(NOWHERE).items():
        for who in ("", "late", new_token()[0], "a.b.c", "SU" + "A" * 56):
            status, answer = await site.ask(who, method, path, body)
            assert (status, answer["status"]) == (401, 401), (name, who)
        allowed = name in PERMISSIONS and "service" in PERMISSIONS[name].roles
        status, answer = await site.ask("svc", method, path, body)
        assert (status == 403) is not allowed, (name, status, answer)


async def test_another_tenants_ids_are_not_found_and_lists_do_not_show_them(site: Site) -> None:
    smuggled = {"agent": "payer", "input": {"amount": 2}, "labels": {"tenant": "bank"}}
    theirs = (await site.ask("sam", "POST", "/v1/runs", smuggled))[1]["run_id"]
    ours = (await site.ask("bea", "POST", "/v1/runs", {"agent": "payer", "input": {"amount": 3}}))[1]["run_id"]
    async with site.desk.client("ann") as ann:
        approval_id = (await approval_of(ann, theirs)).approval_id
    about = {name: made for name, made in requests(theirs, approval_id).items() if theirs in made[1] or approval_id in made[1]}
    assert {"runs.get", "runs.events", "runs.cancel", "runs.pause", "approvals.decide"} <= set(about)
    for name, (method, path, body) in about.items():
        status, answer = await site.ask("bea", method, path, body)
        none_path = path.replace(theirs, NOWHERE).replace(approval_id, "ap-none")
        missing, none = await site.ask("bea", method, none_path, body)
        assert (status, missing) == (404, 404), (name, answer, none)
        assert answer["detail"] == none["detail"].replace(NOWHERE, theirs).replace("ap-none", approval_id), name
    for path, key in ((f"/v1/runs/{theirs}/events", None), (f"/tempo/api/traces/{theirs.replace('-', '')}", None)):
        assert (await site.ask("bea", "GET", path, accept="text/event-stream"))[0] == 404, (path, key)
    listed = (await site.ask("bea", "GET", "/v1/runs?limit=500"))[1]["runs"]
    assert ours in {run["run_id"] for run in listed}
    assert {run["tenant"] for run in listed} == {"bank"}
    asked = (await site.ask("bea", "GET", "/v1/approvals"))[1]["approvals"]
    assert {approval["run_id"] for approval in asked} <= {ours}
    assert (await site.ask("sam", "GET", f"/v1/runs/{theirs}"))[1]["tenant"] == "default"


async def test_people_of_an_issuer_approve_but_not_their_own_runs(site: Site) -> None:
    dan, eve = site.jwt("dan@example.com", "starters", "officers"), site.jwt("eve@example.com", "officers", "bosses")
    status, started = await site.ask(dan, "POST", "/v1/runs", {"agent": "payer", "input": {"amount": 41}})
    assert status == 201, started
    run_id = started["run_id"]
    async with site.desk.client("ann") as ann:
        view = await approval_of(ann, run_id)
    assert view.starter == "dan@example.com"
    path = f"/v1/approvals/{view.approval_id}"
    assert (await site.ask(dan, "POST", path, {"decision": "approve"}))[0] == 403
    assert (await site.ask(site.jwt("ivo@example.com", "starters"), "POST", path, {"decision": "approve"}))[0] == 403
    assert (await site.ask(eve, "POST", path, {"decision": "approve", "by": "ann"}))[0] in (400, 403)
    assert (await site.ask(eve, "POST", f"/v1/runs/{run_id}/cancel", {}))[0] == 403  # `bosses` are admins, which this edge may not hand on
    assert site.desk.effects(run_id) == []
    assert (await site.ask(eve, "POST", path, {"decision": "approve"}))[0] == 200
    await wait_until(lambda: site.desk.effects(run_id) == ["41"], message=site.desk.log)
    events = (await site.ask("olga", "GET", f"/v1/runs/{run_id}/events"))[1]["events"]
    [granted] = [event["data"] for event in events if event["type"] == "approval_granted"]
    assert (granted["by"], granted["via"]) == ("eve@example.com", "edge")
    assert events[0]["data"]["starter"] == "dan@example.com"


async def test_a_token_revoked_by_its_owner_is_refused_within_seconds(site: Site) -> None:
    """By the edge and by the coordinator, without a restart of either."""
    people = Path(site.desk.environment["WAYPOST_API_TOKENS_FILE"])
    token, key = new_token()
    site.desk.tokens["temp"] = token
    known = people.read_text()
    people.write_text(known + f'\n[[identity]]\nsubject = "temp"\nkey = "{key}"\nroles = ["auditor"]\n')

    async def by_nats() -> bool:
        async with site.desk.client("temp") as temp:
            try:
                await temp.list(limit=1)
            except NotAuthenticated:
                return False
        return True

    async def let_in() -> bool:
        return (await site.ask("temp", "GET", "/v1/runs?limit=1"))[0] == 200 and await by_nats()

    async def refused() -> bool:
        return (await site.ask("temp", "GET", "/v1/runs?limit=1"))[0] == 401 and not await by_nats()

    await wait_until(let_in)
    process = await asyncio.create_subprocess_exec(
        "waypost", "tokens", "revoke", "temp", "--file", str(people), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0
    began = time.monotonic()
    await wait_until(refused, seconds=10)
    print(f"refused after {time.monotonic() - began:.2f} s")


async def test_a_browser_signs_in_to_the_console_with_a_token(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url, timeout=20, headers={"accept": "text/html"}) as browser:
        away = await browser.get("/approvals")
        assert (away.status_code, away.headers["location"]) == (303, "/signin?next=%2Fapprovals")
        form = {"token": site.desk.tokens["olga"], "next": "/"}
        assert (await browser.post("/signin", data=form)).status_code == 403  # it does not say which page sent it
        entered = await browser.post("/signin", data=form, headers={"origin": site.url})
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        page = await browser.get("/")
        assert page.status_code == 200
        assert "olga" in page.text
        assert "unsafe" not in page.headers["content-security-policy"]
        assert (await browser.get("/v1/runs", headers={"accept": "application/json"})).status_code == 200
        started = {"agent": "payer", "input": {}}
        assert (await browser.post("/v1/runs", json=started, headers={"origin": "http://evil.example"})).status_code == 403


async def test_events_of_a_tenant_go_to_its_endpoint_alone(site: Site) -> None:
    assert site.endpoint is not None
    theirs = (await site.ask("sam", "POST", "/v1/runs", {"agent": "payer", "input": {"amount": 5}}))[1]["run_id"]
    ours = (await site.ask("bea", "POST", "/v1/runs", {"agent": "payer", "input": {"amount": 6}}))[1]["run_id"]
    for who, run_id in (("olga", theirs), ("bea", ours)):
        assert (await site.ask(who, "POST", f"/v1/runs/{run_id}/cancel", {}))[0] == 200
    endpoint = site.endpoint
    await wait_until(lambda: len(endpoint.requests) >= 2, message=site.desk.log)  # the first was answered by 500
    said = [json.loads(body) for _, body in endpoint.requests]
    assert {(event["type"], event["data"]["run_id"]) for event in said} == {("run_cancelled", ours)}
    assert len({headers["webhook-id"] for headers, _ in endpoint.requests}) == 1
