"""What doctor makes of what it is told; the servers themselves are in the integration test."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import json

from tests.unit.waypost_cli.fake_client import FakeClient, view
from waypost_cli.doctor.nats_checks import check_server, check_streams, server_info
from waypost_cli.doctor.postgres_checks import check_database, check_work
from waypost_cli.doctor.report import Finding, exit_code, failure, ok, warning
from waypost_cli.doctor.service_checks import check_services
from waypost_io.bus.ports import Message, StreamSpec
from waypost_io.settings import Settings
from waypost_io.store.memory import MemoryStore
from waypost_proto.api import AgentView, ToolView
from waypost_proto.errors import Denied, Unreachable
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.values import Effect

SPEC = StreamSpec(name="T_TASKS", subjects=("t.tasks.>",), retention="work_queue", max_bytes=1000)
GOOD = {
    "config": {
        "retention": "workqueue",
        "subjects": ["t.tasks.>"],
        "max_msg_size": SPEC.max_message_bytes,
        "max_bytes": 1000,
        "discard": "new",
    },
    "state": {"bytes": 10, "messages": 1},
}


def levels(findings: list[Finding]) -> dict[str, str]:
    return {finding.check: finding.level for finding in findings}


def test_warnings_alone_are_no_failure() -> None:
    assert exit_code([ok("a", ""), warning("b", "", "do")]) == 0
    assert exit_code([ok("a", ""), failure("b", "", "do")]) == 1


# -- NATS


class Greeter:
    """A server that says one line, as nats-server does before anyone logs in."""

    def __init__(self, line: bytes) -> None:
        self._line = line

    async def __aenter__(self) -> Settings:
        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(self._line)
            writer.close()

        self._server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return Settings(nats_url=f"nats://user:secret@127.0.0.1:{port}")

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        await self._server.wait_closed()


@pytest.mark.parametrize(
    ("line", "expected", "says"),
    [
        (b'INFO {"version":"2.15.1","jetstream":true,"max_payload":1048576}\r\n', {"nats": "ok"}, "2.15.1"),
        (b'INFO {"version":"2.14.0","jetstream":true,"max_payload":1048576}\r\n', {"nats": "ok"}, "2.14.0"),
        (b'INFO {"version":"2.10.29","jetstream":true,"max_payload":1048576}\r\n', {"nats": "failure"}, "2.10.29 is too old"),
        (b'INFO {"version":"2.15.1","max_payload":1048576}\r\n', {"nats": "ok", "jetstream": "failure"}, "not enabled"),
        (b'INFO {"version":"2.15.1","jetstream":true,"max_payload":1000}\r\n', {"nats": "ok", "nats limits": "failure"}, "1000 bytes"),
        (b"SSH-2.0-OpenSSH\r\n", {"nats": "warning"}, "nothing of its version"),
        (b"", {"nats": "warning"}, "nothing of its version"),
    ],
)
async def test_a_server_is_judged_by_its_greeting(line: bytes, expected: dict[str, str], says: str) -> None:
    async with Greeter(line) as settings:
        findings = await check_server(settings)
    assert levels(findings) == expected
    assert any(says in finding.found for finding in findings)
    assert all(finding.mend for finding in findings if finding.level != "ok")


async def test_a_missing_server_is_named_without_its_password(free_port: int) -> None:
    [finding] = await check_server(Settings(nats_url=f"nats://user:secret@127.0.0.1:{free_port}"))
    assert finding.level == "failure"
    assert str(free_port) in finding.mend
    assert "secret" not in finding.mend + finding.found


async def test_a_websocket_has_no_greeting() -> None:
    assert (await server_info("wss://example.invalid:1")).version == ""


class JetStream:
    """The one method of a bus that the checks use."""

    def __init__(self, answers: dict[str, Any] | Exception) -> None:
        self._answers = answers

    async def request(self, subject: str, _body: bytes, **_: object) -> Message:
        if isinstance(self._answers, Exception):
            raise self._answers
        answer = self._answers.get(subject.removeprefix("$JS.API."), {"error": {"code": 404, "description": "stream not found"}})
        return Message(subject, json.encode(answer))


ACCOUNT = {"memory": 0, "storage": 5 << 20, "limits": {"max_storage": -1}}


@pytest.mark.parametrize(
    ("answers", "expected", "says"),
    [
        ({"INFO": ACCOUNT, "STREAM.INFO.T_TASKS": GOOD}, {"jetstream": "ok", "streams": "ok"}, "1 as they must be"),
        ({"INFO": ACCOUNT}, {"jetstream": "ok", "streams": "warning"}, "missing: T_TASKS"),
        (
            {"INFO": ACCOUNT, "STREAM.INFO.T_TASKS": {**GOOD, "config": {**GOOD["config"], "retention": "limits"}}},
            {"jetstream": "ok", "streams": "failure"},
            "retention is 'limits', must be 'workqueue'",
        ),
        (
            {"INFO": ACCOUNT, "STREAM.INFO.T_TASKS": {**GOOD, "state": {"bytes": 900, "messages": 3}}},
            {"jetstream": "ok", "streams": "warning"},
            "(3 messages)",
        ),
        (
            {"INFO": {"memory": 0, "storage": 90, "limits": {"max_storage": 100}}, "STREAM.INFO.T_TASKS": GOOD},
            {"jetstream": "warning", "streams": "ok"},
            "0 MiB on disk",
        ),
        (
            {"INFO": {"error": {"code": 503, "description": "JetStream not enabled for account"}}},
            {"jetstream": "failure", "streams": "warning"},
            "not enabled for account",
        ),
        (Unreachable("no answer"), {"jetstream": "failure"}, "does not answer"),
    ],
)
async def test_streams(answers: dict[str, Any] | Exception, expected: dict[str, str], says: str) -> None:
    findings = await check_streams(JetStream(answers), [SPEC])  # type: ignore[arg-type]
    assert levels(findings) == expected
    assert any(says in finding.found for finding in findings)
    assert all(finding.mend for finding in findings if finding.level in ("warning", "failure"))


# -- Postgres


async def test_without_a_database_setting_nothing_is_checked() -> None:
    [finding] = await check_database(Settings())
    assert finding.level == "skipped"


async def test_partitions_without_an_owner_are_a_failure() -> None:
    now = 1_000_000.0
    store = MemoryStore(lambda: now)
    assert levels(await check_work(store))["partitions"] == "warning"
    await store.leases.ensure_partitions(4)
    findings = {finding.check: finding for finding in await check_work(store)}
    assert findings["partitions"].level == "failure"
    assert "4 of 4" in findings["partitions"].found
    await store.leases.acquire("c-1", at_most=4, lease_seconds=5)
    assert levels(await check_work(store))["partitions"] == "ok"
    now += 6
    findings = {finding.check: finding for finding in await check_work(store)}
    assert findings["partitions"].level == "failure", "an expired lease is no owner"
    assert "waypost coordinator" in findings["partitions"].mend


async def test_a_clock_far_off_and_dead_letters_are_said() -> None:
    store = MemoryStore(lambda: 0.0)
    await store.dead.add(origin="tasks", subject="t.tasks.x", reason="not JSON", body=b"{", headers={}, source="s", run_id=None)
    findings = {finding.check: finding for finding in await check_work(store)}
    assert findings["clock"].level == "warning"
    assert "behind" in findings["clock"].found
    assert findings["dead letters"].found == "1, the first: not JSON"
    assert findings["audit log"].level == "ok"


async def test_a_database_that_goes_away_is_one_failure() -> None:
    store = MemoryStore(lambda: 0.0)

    async def gone() -> float:
        raise Unreachable("the connection was closed")

    store.leases.now = gone  # type: ignore[method-assign]
    [finding] = await check_work(store)
    assert (finding.level, finding.found) == ("failure", "the connection was closed")


# -- services


async def test_definitions_without_a_host_are_named() -> None:
    client = FakeClient()
    client.answers["agents"] = [
        AgentView(definition=AgentDefinition(name="desk", build="b1"), workers=["w-1"]),
        AgentView(definition=AgentDefinition(name="risk", build="b1")),
    ]
    client.answers["tools"] = [ToolView(definition=ToolDefinition(name="mail", effect=Effect.READ), gateways=["g-1"])]
    client.answers["list"] = [view(agent="ghost", status="pending"), view(agent="risk", status="pending")]
    findings = {finding.check: finding for finding in await check_services(client)}  # type: ignore[arg-type]
    assert findings["coordinator"].level == "ok"
    assert findings["workers"].found == "risk: defined, but nobody hosts it"
    assert findings["gateways"].found == "1 for 1 tool"
    assert "ghost" in findings["runs"].found
    assert "risk" not in findings["runs"].found


async def test_a_coordinator_that_does_not_answer_is_a_failure() -> None:
    client = FakeClient()
    client.answers["agents"] = Unreachable("no coordinator answers")
    [finding] = await check_services(client)  # type: ignore[arg-type]
    assert (finding.check, finding.level) == ("coordinator", "failure")


async def test_a_caller_that_is_refused_needs_another_token() -> None:
    client = FakeClient()
    client.answers["agents"] = Denied("bob has no role that may agents.list")
    [finding] = await check_services(client)  # type: ignore[arg-type]
    assert "WAYPOST_API_TOKEN" in finding.mend
