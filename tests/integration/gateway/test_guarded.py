"""Policy, approvals, breaker, taint and secrets on real processes: what a run meets, what its log says, what is found nowhere."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg

from tests.integration.approvals.platform import Platform, approval_of, platform
from tests.waiting import wait_until
from waypost.client import Client

MODULE = Path(__file__).with_name("guarded_module.py")
SECRET = "k3y/with+odd=chars&more"
POLICY = """
version = "{version}"
[[rules]]
name = "after the web"
decision = "deny"
reason = "nothing is paid after reading the web"
tools = ["pay"]
taint = ["web"]
[[rules]]
name = "large"
decision = "require_approval"
reason = "a large one"
when = [{{ path = "amount", op = ">", value = {limit} }}]
approval = {{ role = "officer", quorum = 2 }}
"""


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres_url: str) -> AsyncIterator[Platform]:
    path = tmp_path_factory.mktemp("guarded")
    policy(path, 100)
    more = {"WAYPOST_POLICY_FILE": str(path / "policy.toml"), "WAYPOST_SECRET_LEAKY": SECRET, "WAYPOST_LOG_LEVEL": "debug"}
    async with platform(path, nats_url=nats_url, postgres_url=postgres_url, module=MODULE, **more) as running:
        yield running


def policy(path: Path, limit: int, version: str = "v1") -> None:
    (path / "policy.toml").write_text(POLICY.format(version=version, limit=limit))


async def finished(client: Client, how: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """What the agent saw, and its log."""
    run_id = (await client.start("clerk", how)).run_id
    seen = await client.result(run_id, type=dict[str, Any], timeout=20)
    return seen, [(event.type, json.loads(bytes(event.data))) async for event in client.events(run_id)]


async def test_after_reading_the_web_nothing_is_paid(desk: Platform) -> None:
    async with desk.client() as client:
        seen, log = await finished(client, {"read": True, "amount": 5})
    assert seen["taint"] == ["web"]
    assert seen["paid"].startswith("nothing is paid after reading the web (rule 'after the web' of policy v1@")
    failed = dict(log)["tool_call_failed"]
    assert failed["error"]["type"] == "ToolDenied"
    assert failed["error"]["details"]["rule"] == "after the web"
    assert [data.get("taint") for kind, data in log if kind == "tool_call_completed"] == [["web"]]


async def test_a_small_payment_needs_nobody_and_a_large_one_two_officers(desk: Platform) -> None:
    async with desk.client() as client:
        seen, _ = await finished(client, {"amount": 7})
        assert (seen["paid"], seen["taint"]) == ("paid 7", [])
        run_id = (await client.start("clerk", {"amount": 700})).run_id
        approval = await approval_of(client, run_id)
        assert (approval.role, approval.quorum, approval.rule, approval.reason) == ("officer", 2, "large", "a large one")
        for who in ("ann", "bob"):
            assert desk.effects(run_id) == []
            await client.approve(approval.approval_id, by=who, roles=["officer"])
        seen = await client.result(run_id, type=dict[str, Any], timeout=20)
        types = [event.type async for event in client.events(run_id)]
    assert seen["paid"] == "paid 700"
    assert desk.effects(run_id) == ["700"]
    assert types.count("approval_requested") == 1
    assert types.count("tool_call_requested") == 1


async def test_a_new_policy_while_people_think_asks_for_what_it_wants(desk: Platform) -> None:
    """The limit is raised and lowered again: what was approved on the same terms is enough, whichever version asked."""
    path = desk.log_file.parent
    async with desk.client() as client:
        run_id = (await client.start("clerk", {"amount": 800})).run_id
        approval = await approval_of(client, run_id)
        policy(path, 500, "v2")
        await wait_until(lambda: "a new policy is in force" in desk.log())
        for who in ("ann", "bob"):
            await client.approve(approval.approval_id, by=who, roles=["officer"])
        assert (await client.result(run_id, type=dict[str, Any], timeout=20))["paid"] == "paid 800"
        seen, _ = await finished(client, {"amount": 400})
        assert seen["paid"] == "paid 400"  # under the new limit, without a restart
    assert desk.effects(run_id) == ["800"]
    (path / "policy.toml").write_text("[[rules]]\nname = 7\n")
    desk.processes[-1].send_signal(signal.SIGHUP)
    await wait_until(lambda: "cannot be used, what was read before stays in force" in desk.log())
    policy(path, 100)


async def test_an_open_breaker_is_seen_in_the_log_and_burns_no_attempt(desk: Platform) -> None:
    async with desk.client() as client:
        run_id = (await client.start("clerk", {"fragile": True})).run_id

        async def shown() -> bool:
            (view,) = [view for view in await client.tools() if view.definition.name == "fragile"]
            return view.breaker is not None and view.breaker.state == "open" and "ConnectionError" in view.breaker.reason

        await wait_until(shown)
        seen = await client.result(run_id, type=dict[str, Any], timeout=20)
        log = [(event.type, json.loads(bytes(event.data))) async for event in client.events(run_id)]
    assert seen["fragile"] == "up again"
    deferred = dict(log)["tool_call_deferred"]
    assert (deferred["attempt"], deferred["why"]) == (2, "breaker")
    assert "ConnectionError" in deferred["message"]
    assert dict(log)["tool_call_completed"]["attempt"] == 2


async def test_a_secret_is_in_no_message_no_log_and_no_result(desk: Platform) -> None:
    """Everything that is published passes a subscription to everything, work queues included."""
    passed: list[str] = []

    async def listen(message: Msg) -> None:
        passed.append(f"{message.subject} {message.headers} {message.data.decode('utf-8', 'replace')}")

    connection = await nats.connect(desk.environment["WAYPOST_NATS_URL"])
    try:
        await connection.subscribe(f"{desk.environment['WAYPOST_PREFIX']}.>", cb=listen)
        await connection.flush()
        async with desk.client() as client:
            for how in ("return", "raise"):
                seen, log = await finished(client, {"talks": how})
                assert "***" in json.dumps(seen)
                assert not leaked(json.dumps([seen, log]))
        await connection.flush()
    finally:
        await connection.close()
    kinds = {line.split(".")[1] for line in passed}
    assert {"tools", "mailbox", "events", "work"} <= kinds
    assert not leaked("\n".join(passed))
    text = desk.log_file.read_text(encoding="utf-8", errors="replace")
    assert "printed ***" in text
    assert "logged too" in text
    assert not leaked(text)


def leaked(text: str) -> bool:
    """The secret, as it is or as it usually travels."""
    return any(form in text for form in (SECRET, SECRET.encode().hex(), "k3y%2Fwith", json.dumps(SECRET)[1:-1]))
