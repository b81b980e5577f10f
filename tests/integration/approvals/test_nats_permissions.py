"""The services under the accounts of `waypost nats-config`, and somebody with a worker's key who wants more."""

from __future__ import annotations

import asyncio
import json
import stat
import urllib.request
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from tests.chaos.stack import QUICK, hosted
from tests.integration.approvals.fenced import Fenced, fenced
from tests.integration.approvals.platform import MODULE, Platform, approval_of
from tests.unit.waypost_edge.test_webhooks import SECRET, Endpoint
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.bus.opening import bus_of
from waypost_io.servers import free_port
from waypost_io.settings import Settings, load
from waypost_proto.codec import encode
from waypost_proto.errors import Misconfigured
from waypost_proto.registry import AgentDefinition, Announce, Announced, ConsumerTold, Heartbeat


@pytest.fixture(scope="module")
async def fence(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fenced]:
    async with fenced(tmp_path_factory.mktemp("fence"), f"f{uuid.uuid4().hex[:8]}") as made:
        yield made


@pytest.fixture(scope="module")
async def services(fence: Fenced, postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Platform]:
    """A coordinator, a worker of the pool `desk` and a gateway of the pool `bank`, each with its own key."""
    path = tmp_path_factory.mktemp("services")
    common = {**QUICK, "EFFECTS_FILE": str(path / "effects")}
    running = Platform({}, path / "services.log")
    try:
        for user, more, command in (
            ("coordinator", {"WAYPOST_POSTGRES_URL": postgres_url}, ("waypost_coordinator",)),
            ("desk", {"WAYPOST_WORKER_NAME": "desk-0"}, ("waypost_worker", str(MODULE))),
            ("bank", {"WAYPOST_POSTGRES_URL": postgres_url}, ("waypost_gateway", str(MODULE))),
            ("audit", {"WAYPOST_POSTGRES_URL": postgres_url}, ("waypost_audit",)),
        ):
            running.environment = common | fence.environment(user) | more
            await running.start(*command)
        yield running
    finally:
        await running.stop()


@pytest.fixture
async def client(fence: Fenced, services: Platform) -> AsyncIterator[Client]:
    settings = load(Settings, fence.environment("client"))
    async with bus_of(settings, "client") as bus, Client(bus=bus, prefix=fence.prefix, patience_seconds=20) as made:
        try:
            await hosted(made)
        except AssertionError as error:
            raise AssertionError(services.log()) from error
        yield made


async def test_a_run_from_start_to_effect(client: Client, services: Platform, fence: Fenced) -> None:
    run_id = (await client.start("payer", {"amount": 4})).run_id
    approval = await approval_of(client, run_id)
    # NATS is on loopback and there are no identities here: who decides is another test's affair
    await client.approve(approval.approval_id, by="ann", roles=["officer"])
    assert (await client.result(run_id, timeout=20))["receipt"] == "paid 4"
    kinds = [event.type async for event in client.events(run_id, follow=True)]
    assert kinds[-1] == "run_completed"


async def test_a_task_by_plain_publish(client: Client, fence: Fenced) -> None:
    async with fence.connect("client") as (people, _):
        body = json.dumps({"input": {"amount": 1}, "correlation_id": "by-hand"}).encode()
        ack = json.loads((await people.request(f"{fence.prefix}.tasks.payer", body, timeout=5)).data)
        assert ack["stream"].endswith("_TASKS")
        await wait_until(lambda: _started(client, "by-hand"))


async def test_an_edge_sends_webhooks_with_its_own_key(client: Client, fence: Fenced, postgres_url: str, tmp_path: Path) -> None:
    endpoint, port = Endpoint(), free_port()
    subscription = (
        f'[[webhook]]\nname = "crm"\nurl = "http://127.0.0.1:{endpoint.port}/hook"\nallow = ["127.0.0.1:{endpoint.port}"]\n'
        f'secret_env = "HOOK_SECRET"\nagents = ["payer"]\ntypes = ["run_started"]\n'
    )
    (tmp_path / "webhooks.toml").write_text(subscription, encoding="utf-8")
    edge = Platform(
        {
            **fence.environment("edge"),
            "WAYPOST_POSTGRES_URL": postgres_url,
            "WAYPOST_HTTP_ADDR": f"127.0.0.1:{port}",
            "WAYPOST_WEBHOOKS_FILE": str(tmp_path / "webhooks.toml"),
            "HOOK_SECRET": SECRET,
        },
        tmp_path / "edge.log",
    )
    try:
        await edge.start("waypost_edge")

        async def sent() -> bool:
            await client.start("payer", {"amount": 2})  # its consumer begins with what happens after it was made
            return bool(endpoint.requests)

        await wait_until(sent, seconds=30, message=edge.log)
        assert json.loads(endpoint.requests[0][1])["type"] == "run_started"
        runs = await asyncio.to_thread(_fetched, f"http://127.0.0.1:{port}/v1/runs?agent=payer")
        assert runs["runs"], "it answers what it is asked, too"
    finally:
        await edge.stop()
        endpoint.server.shutdown()
        endpoint.server.server_close()
    async with fence.connect("edge") as (connection, refused):
        given_up = await connection.request(f"{fence.prefix}.dead.webhooks", b"an event that nobody takes", timeout=5)
        assert json.loads(given_up.data)["stream"].endswith("_DEAD")
        for subject in ("{p}.dead.tools", "$JS.API.CONSUMER.MSG.NEXT.{S}_EVENTS.webhook-other", "{p}.work.payer.test.any"):
            assert await asked(connection, subject.replace("{S}", fence.prefix.upper()).replace("{p}", fence.prefix)) is None
        assert len(refused) == 3


def _fetched(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


async def _started(client: Client, correlation_id: str) -> bool:
    return any(run.correlation_id == correlation_id for run in await client.list(agent="payer"))


def test_secret_keys_are_for_their_owner_only_and_the_server_knows_none(fence: Fenced) -> None:
    seeds = list(fence.folder.glob("*.nk"))
    assert len(seeds) == 7
    config = (fence.folder / "waypost-accounts.conf").read_text(encoding="utf-8")
    for seed in seeds:
        assert stat.S_IMODE(seed.stat().st_mode) == 0o600
        assert seed.read_text(encoding="utf-8").strip() not in config


# -- somebody with the key of a worker of the pool `rival`, which hosts the agent `spy`


async def asked(connection: NatsClient, subject: str, body: bytes = b"{}") -> Msg | None:
    """The answer; None when the server let it through to nobody."""
    try:
        return await connection.request(subject, body, timeout=0.4)
    except (nats.errors.TimeoutError, nats.errors.NoRespondersError):
        return None


FORBIDDEN = [
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.STREAM.PURGE.{S}_MAILBOX",
    "$JS.API.STREAM.DELETE.{S}_WORK",
    "$JS.API.STREAM.MSG.GET.{S}_EVENTS",
    "$JS.API.CONSUMER.CREATE.{S}_WORK.any_payer_test.{p}.work.payer.test.any",
    "$JS.API.CONSUMER.CREATE.{S}_WORK.mine.{p}.work.>",
    "$JS.API.CONSUMER.DELETE.{S}_WORK.any_payer_test",
    "$JS.API.CONSUMER.MSG.NEXT.{S}_WORK.any_payer_test",
    "$JS.API.CONSUMER.MSG.NEXT.{S}_WORK.sticky-desk-0",
    "$JS.API.CONSUMER.MSG.NEXT.{S}_TOOLS.tool-pay",
    "$JS.ACK.{S}_WORK.any_payer_test.1.1.1.1.0",
    "{p}.mailbox.advance.payer.0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55",
    "{p}.mailbox.result.pay.0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55",
    "{p}.mailbox.control.run.0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55",
    "{p}.work.payer.test.any",
    "{p}.tools.pay",
    "{p}.tasks.payer",
    "{p}.api.approvals.decide",
    "{p}.api.runs.list",
    "{p}.api.runs.resolve",
    "{p}.pool.desk.announce",
    "{p}.pool.desk.journal",
    "{p}.confirm.desk-0",
    "{p}.stop",
    "{p}.registry.changed",
    "{p}.events.payer.x.run_completed",
]


@pytest.mark.slow
async def test_what_is_not_named_is_denied(client: Client, fence: Fenced) -> None:
    async with fence.connect("rival") as (rival, refused):
        for pattern in FORBIDDEN:
            subject = pattern.replace("{S}", fence.prefix.upper()).replace("{p}", fence.prefix)
            assert await asked(rival, subject) is None, subject
            assert any(subject.lower() in text for text in refused), (subject, refused[-1:])
        for subject in (">", f"{fence.prefix}.>", f"{fence.prefix}.events.>", f"{fence.prefix}.confirm.desk-0", "_INBOX_desk.>", "_R_.>"):
            before = len(refused)
            await rival.subscribe(subject)
            await rival.flush()
            await wait_until(lambda before=before: len(refused) > before, message=subject)


async def test_the_journal_of_another_pools_run_does_not_exist(client: Client, fence: Fenced) -> None:
    run_id = (await client.start("payer", {"amount": 6})).run_id
    await approval_of(client, run_id)
    body = json.dumps({"run_id": run_id}).encode()
    async with fence.connect("rival") as (rival, _), fence.connect("desk") as (desk, _):
        theirs = await asked(desk, f"{fence.prefix}.api.runs.journal", body)
        assert theirs is not None
        assert json.loads(theirs.data)["agent"] == "payer"
        answer = await asked(rival, f"{fence.prefix}.api.runs.journal", body)
        assert answer is not None
        assert answer.headers is not None
        assert answer.headers["Nats-Service-Error-Code"] == "404"


async def test_nobody_announces_for_another_pool_or_speaks_for_its_workers(client: Client, fence: Fenced) -> None:
    announcements = [
        Announce(peer="rival-0", kind="worker", build="test", agents=[AgentDefinition(name="payer", build="test", tools=["anything"])]),
        Announce(peer="rival-0", kind="worker", build="v9", agents=[AgentDefinition(name="spy", build="v9")]),
        Announce(peer="desk-0", kind="worker", build="test", agents=[AgentDefinition(name="spy", build="test")]),
        Announce(peer="rival-7", kind="worker", build="test", agents=[AgentDefinition(name="spy", build="test")]),
    ]
    async with fence.connect("rival") as (rival, _):
        for announce in announcements:
            answer = await asked(rival, f"{fence.prefix}.registry.announce", encode(announce))
            assert answer is not None
            verdict: dict[str, Any] = json.loads(answer.data)
            assert not Announced(ok=verdict["ok"]).ok, announce
        gone = Heartbeat(peer="desk-0", kind="worker", build="test", names=["payer"], state="stopped")
        await rival.publish(f"{fence.prefix}.registry.heartbeat", encode(gone))
        await rival.flush()
        # an announcement of its own goes through, after the heartbeat on the same connection
        mine = Announce(peer="rival-0", kind="worker", build="test", agents=[AgentDefinition(name="spy", build="test")])
        answer = await asked(rival, f"{fence.prefix}.registry.announce", encode(mine))
        assert answer is not None
        assert json.loads(answer.data)["ok"]
    views = {view.definition.name: view for view in await client.agents()}
    assert "desk-0" in views["payer"].workers
    assert "anything" not in views["payer"].definition.tools


async def test_workers_show_what_models_write_to_people_and_hear_none_of_it(client: Client, fence: Fenced) -> None:
    subject = f"{fence.prefix}.stream.0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"
    heard: list[bytes] = []

    async def hear(message: Msg) -> None:
        heard.append(message.data)

    async with fence.connect("client") as (people, _), fence.connect("desk") as (desk, _), fence.connect("rival") as (rival, refused):
        await people.subscribe(subject, cb=hear)
        await people.flush()
        await rival.subscribe(subject)
        await rival.flush()
        await wait_until(lambda: bool(refused))
        await desk.publish(subject, b"pieces")
        await desk.flush()
        await wait_until(lambda: heard == [b"pieces"])
    async with fence.connect("bank") as (gateway, denied):
        await gateway.publish(subject, b"forged")
        await gateway.flush()
        await wait_until(lambda: bool(denied))
    async with fence.connect("client") as (people, denied):
        await people.publish(subject, b"forged")
        await people.flush()
        await wait_until(lambda: bool(denied))


async def test_gateways_of_a_pool_hear_each_other_and_no_other_pool(client: Client, fence: Fenced) -> None:
    subject = f"{fence.prefix}.registry.gateways"
    async with fence.connect("bank") as (one, _), fence.connect("bank") as (other, _), fence.connect("rival") as (rival, refused):
        heard: list[bytes] = []

        async def hear(message: Msg) -> None:
            heard.append(message.data)

        await other.subscribe(subject, cb=hear)
        await other.flush()
        await rival.publish(subject, b"forged")
        await rival.flush()
        await wait_until(lambda: bool(refused))
        await one.publish(subject, b"{}")
        await wait_until(lambda: b"{}" in heard)
        assert b"forged" not in heard


async def test_consumers_are_made_for_a_pool_and_for_no_other(client: Client, fence: Fenced) -> None:
    settings = load(Settings, fence.environment("rival"))
    from waypost_io.bus.topology import tool_consumer, work_consumer

    async with bus_of(settings, "rival") as bus:
        await bus.ensure_consumer(work_consumer(settings.subjects, "spy", "test"))
        assert await bus.consumer_created(settings.subjects.stream("WORK"), "any_spy_test")
        for spec in (work_consumer(settings.subjects, "payer", "test"), tool_consumer(settings.subjects, "pay")):
            with pytest.raises(Misconfigured, match="may not pull"):
                await bus.ensure_consumer(spec)
    assert ConsumerTold().created is None


async def test_a_reply_subject_puts_nothing_into_the_core(client: Client, fence: Fenced) -> None:
    """The confused deputy: JetStream answers a pull, and acknowledges a publish, on whatever subject the asker names."""
    run_id = (await client.start("payer", {"amount": 8})).run_id
    approval = await approval_of(client, run_id)
    settings = load(Settings, fence.environment("rival"))
    from waypost_io.bus.topology import work_consumer

    async with bus_of(settings, "rival") as bus:
        await bus.ensure_consumer(work_consumer(settings.subjects, "spy", "test"))
    spied = (await client.start("spy", {"type": "decide_approval"})).run_id
    stream = f"{fence.prefix.upper()}_WORK"
    prefix = fence.prefix
    targets = [f"{prefix}.mailbox.control.run.{run_id}", f"{prefix}.work.payer.test.any", f"{prefix}.events.payer.{run_id}.run_completed"]
    async with fence.connect("coordinator") as (core, _), fence.connect("rival") as (rival, _):
        heard: list[Msg] = []

        async def hear(message: Msg) -> None:
            heard.append(message)

        for subject in targets:
            await core.subscribe(subject, cb=hear)
        await core.flush()
        for target in targets:
            await rival.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.any_spy_test", b'{"batch":1,"expires":200000000}', reply=target)
            await rival.publish(f"{prefix}.mailbox.advance.spy.{spied}", b"{}", reply=target)
        await rival.flush()
        await asked(rival, f"{prefix}.mailbox.advance.spy.{spied}", b"{}")  # what was asked before has been answered now
        await core.flush()
        assert [message.subject for message in heard] == []
        for target in targets:  # and what is said there is heard
            await core.publish(target, b"")
        await wait_until(lambda: len(heard) == len(targets))
    assert (await client.get(run_id)).status == "waiting_approval"
    assert (await approval_of(client, run_id)).approval_id == approval.approval_id
    await client.cancel(run_id)
