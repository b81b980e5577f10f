"""The client over the API's real endpoints, a bus in memory and a coordinator reduced to its core."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec import Raw, Struct

from tests.unit.waypost_coordinator.api.rig import Desk, new_id
from tests.waiting import wait_until
from waypost import _following as following
from waypost.client import Client
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.api import AgentView, DeadList, DeadPage
from waypost_proto.errors import BadInput, BadMessage, Conflict, Denied, NotConfirmed, NotFound, RunFailed, Unreachable
from waypost_proto.ids import CallId, RunId
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.mailbox import StartRun
from waypost_proto.registry import AgentDefinition
from waypost_proto.values import Approval, BlobRef, Budget, Effect, Failure, Mark, RunStatus

CALL = CallId("0:1")


class Verdict(Struct, frozen=True):
    risk: float


@pytest.fixture
async def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def desk(broker: MemoryBroker) -> AsyncIterator[Desk]:
    async with MemoryBus(broker) as bus, Desk(bus) as desk:
        yield desk


@pytest.fixture
async def client(broker: MemoryBroker, desk: Desk) -> AsyncIterator[Client]:
    async with MemoryBus(broker) as bus, Client(prefix="t", bus=bus, patience_seconds=5.0) as client:
        yield client


def mark(digest: str = "d") -> Mark:
    return Mark(digest=digest, seen=1, worker="w-1", build="b1")


def step(number: int) -> ev.StepCompleted:
    return ev.StepCompleted(call_id=CallId(f"0:{number}"), name="think", at=1.0, result=Raw(b"1"), seen=1, mark=mark(f"d-{number}"))


def completed(result: bytes = b'{"risk":0.2}') -> ev.RunCompleted:
    return ev.RunCompleted(result=Raw(result), seen=1, mark=mark())


# -- start


async def test_start_sends_what_was_said(client: Client, desk: Desk) -> None:
    run_id = new_id()
    answer = await client.start(
        "desk",
        Verdict(risk=0.5),
        run_id=run_id,
        idempotency_key="k",
        correlation_id="c",
        budget=Budget(max_steps=3),
        deadline=timedelta(hours=2),
        labels={"team": "red"},
    )
    assert (answer.run_id, answer.status, answer.duplicate) == (run_id, "pending", False)
    [mail] = desk.submitted
    assert isinstance(mail, StartRun)
    assert bytes(mail.input) == b'{"risk":0.5}'  # type: ignore[arg-type]
    assert (mail.idempotency_key, mail.correlation_id, mail.budget, mail.labels) == ("k", "c", Budget(max_steps=3), {"team": "red"})
    assert mail.deadline == "PT7200.000000S"
    again = await client.start("desk", Verdict(risk=0.5), idempotency_key="k")
    assert (again.run_id, again.duplicate) == (run_id, True)
    with pytest.raises(Conflict):
        await client.start("desk", Verdict(risk=0.6), idempotency_key="k")


@pytest.mark.parametrize(
    ("deadline", "sent"),
    [("PT5M", "PT5M"), (datetime(2030, 1, 2, tzinfo=UTC), "2030-01-02T00:00:00+00:00"), (None, None)],
)
async def test_deadlines(client: Client, desk: Desk, deadline: object, sent: str | None) -> None:
    await client.start("desk", deadline=deadline)  # type: ignore[arg-type]
    [mail] = desk.submitted
    assert isinstance(mail, StartRun)
    assert mail.deadline == sent


async def test_what_cannot_be_sent_is_said_here(client: Client, desk: Desk) -> None:
    with pytest.raises(BadInput, match="no time zone"):
        await client.start("desk", deadline=datetime(2030, 1, 2))  # noqa: DTZ001
    with pytest.raises(BadInput, match="positive"):
        await client.start("desk", deadline=timedelta(0))
    with pytest.raises(BadInput, match="input of type object cannot be sent as JSON"):
        await client.start("desk", object())
    with pytest.raises(BadInput, match="agent name"):
        await client.start("De.sk")
    assert desk.submitted == []


async def test_a_large_input_is_uploaded_first(client: Client, desk: Desk) -> None:
    text = "x" * (3 * CLAIM_CHECK_BYTES)
    await client.start("desk", text)
    [mail] = desk.submitted
    assert isinstance(mail, StartRun)
    assert isinstance(mail.input_ref, BlobRef)
    assert await desk.store.blobs.get(mail.input_ref.sha256) == msgspec.json.encode(text)


async def test_a_lost_answer_is_asked_for_again_and_starts_one_run(client: Client, desk: Desk) -> None:
    submit = desk.submit
    failures = iter([NotConfirmed("not confirmed in time")])

    async def flaky(mail: mb.AnyControl) -> mb.Reply:
        reply = await submit(mail)
        for failure in failures:
            raise failure
        return reply

    desk.submit = flaky  # type: ignore[method-assign]
    answer = await client.start("desk", 1)
    assert answer.duplicate
    assert {mail.run_id for mail in desk.submitted} == {answer.run_id}
    assert len(desk.submitted) == 2


async def test_without_a_coordinator_the_error_says_what_to_do(broker: MemoryBroker) -> None:
    async with MemoryBus(broker) as bus, Client(prefix="t", bus=bus, patience_seconds=0.2) as client:
        with pytest.raises(Unreachable, match=r"no coordinator answers.*`waypost coordinator`"):
            await client.get(new_id())


# -- results


async def test_the_result_comes_when_the_run_ends(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    waiting = asyncio.create_task(client.result(run_id, type=Verdict))
    await wait_until(lambda: client._tails)
    await desk.play(run_id, step(1))
    assert not waiting.done()
    await desk.play(run_id, completed())
    assert await waiting == Verdict(risk=0.2)
    assert not client._tails
    assert await client.result(run_id) == {"risk": 0.2}


async def test_a_result_does_not_need_a_single_message(client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    desk.publish = False
    run_id = await desk.started()
    waiting = asyncio.create_task(client.result(run_id))
    await wait_until(lambda: client._tails)
    await desk.play(run_id, completed(b"7"))
    assert await waiting == 7


async def test_a_result_that_does_not_fit_the_type_says_where(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    await desk.play(run_id, completed(b'{"risk":"high"}'))
    with pytest.raises(BadMessage, match=r"\$\.risk"):
        await client.result(run_id, type=Verdict)


async def test_a_large_result_is_fetched(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    data = msgspec.json.encode(["y" * 1000] * 1000)
    ref = BlobRef(sha256=await desk.store.blobs.put(data), size=len(data))
    await desk.play(run_id, ev.RunCompleted(result_ref=ref, seen=1, mark=mark()))
    assert len(await client.result(run_id, type=list[str])) == 1000


async def test_failed_and_cancelled_runs_raise_with_the_reason(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    failure = Failure(type="ValueError", message="no account")
    await desk.play(run_id, ev.RunFailed(error=failure, seen=1, mark=mark()))
    with pytest.raises(RunFailed, match="failed: ValueError: no account") as caught:
        await client.result(run_id)
    assert (caught.value.run_id, caught.value.status, caught.value.failure) == (run_id, "failed", failure)
    other = await desk.started()
    await client.cancel(other, by="ann")
    with pytest.raises(RunFailed) as cancelled:
        await client.result(other)
    assert cancelled.value.status == "cancelled"


async def test_a_run_that_returns_nothing_has_the_result_none(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    await desk.play(run_id, ev.RunCompleted(seen=1, mark=mark()))
    assert await client.result(run_id) is None


async def test_waiting_can_be_given_up(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    with pytest.raises(TimeoutError):
        await client.result(run_id, timeout=0.05)
    with pytest.raises(TimeoutError):
        await client.result(run_id, timeout=timedelta(milliseconds=50))
    assert not client._tails
    with pytest.raises(NotFound):
        await client.result(new_id())


# -- events


async def collected(client: Client, run_id: RunId, *, after: int = 0, follow: bool = False) -> list[int]:
    return [event.seq async for event in client.events(run_id, after=after, follow=follow)]


async def test_events_are_those_committed_by_now(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    await desk.play(run_id, step(1), step(2))
    assert await collected(client, run_id) == [1, 2, 3]
    assert await collected(client, run_id, after=2) == [3]
    with pytest.raises(NotFound):
        await collected(client, new_id())


async def test_many_events_come_in_pages(client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAGE", 7)
    run_id = await desk.started()
    await desk.play(run_id, *(step(n) for n in range(1, 40)))
    assert await collected(client, run_id) == list(range(1, 41))


async def test_following_is_live_and_ends_with_the_run(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    seen: list[int] = []

    async def follow() -> None:
        async for event in client.events(run_id, follow=True):
            seen.append(event.seq)  # noqa: PERF401 - watched while it grows

    following_task = asyncio.create_task(follow())
    await wait_until(lambda: seen == [1])
    for number in range(1, 4):
        await desk.play(run_id, step(number))
        await wait_until(lambda number=number: seen[-1] == number + 1)  # type: ignore[misc]
    await desk.play(run_id, completed())
    await following_task
    assert seen == [1, 2, 3, 4, 5]


async def test_lost_and_repeated_messages_leave_no_gap_and_no_repeat(client: Client, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.02)
    run_id = await desk.started()
    seen: list[int] = []

    async def follow() -> None:
        async for event in client.events(run_id, follow=True):
            seen.append(event.seq)  # noqa: PERF401

    following_task = asyncio.create_task(follow())
    await wait_until(lambda: seen == [1])
    desk.publish = False
    await desk.play(run_id, step(1), step(2))
    desk.publish = True
    await desk.play(run_id, step(3))
    rows = await desk.store.log.load_events(run_id)
    for row in reversed(rows):
        desk.bus.send(desk.subjects.event("desk", run_id, row.type), row.body)
    desk.bus.send(desk.subjects.event("desk", run_id, "rubbish"), b"{")
    desk.publish = False
    await desk.play(run_id, completed())
    await following_task
    assert seen == [1, 2, 3, 4, 5]


async def test_leaving_a_stream_early_unsubscribes(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    stream = client.events(run_id, follow=True)
    assert (await anext(stream)).seq == 1
    await stream.aclose()
    assert not client._tails


# -- acting


async def test_signals_pauses_and_limits(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    await client.signal(run_id, "papers", {"count": 3}, by="ann")
    [mail] = desk.submitted
    assert isinstance(mail, mb.Signal)
    assert (mail.name, bytes(mail.payload), mail.by) == ("papers", b'{"count":3}', "ann")  # type: ignore[arg-type]
    assert (await client.signal(run_id, "papers", {"count": 3}, request_id=mail.request_id)).duplicate
    assert (await client.pause(run_id, reason="look", by="ann")).status == "paused"
    assert (await client.resume(run_id, budget=Budget(max_steps=9))).status == "pending"
    assert (await client.get(run_id)).budget == Budget(max_steps=9)


async def test_approving_needs_the_role(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    request = ev.ToolCallRequested(
        call_id=CALL,
        tool="mail",
        args=Raw(b'{"to":"x"}'),
        args_digest="d",
        idempotency_key="k",
        effect=Effect.UNSAFE,
        approval=Approval(role="officer"),
        seen=1,
        mark=mark(),
    )
    asked = ev.ApprovalRequested(approval_id="ap", call_id=CALL, tool="mail", args_digest="d", role="officer", expires_at=desk.now + 60)
    await desk.play(run_id, request, asked)
    [found] = await client.approvals(role="officer")
    assert (found.approval_id, bytes(found.args)) == ("ap", b'{"to":"x"}')  # type: ignore[arg-type]
    assert (await client.get(run_id)).waiting_for.startswith("approval of mail by officer until ")
    [listed] = await client.list(status=RunStatus.WAITING_APPROVAL)
    assert listed.waiting_for.startswith("approval of mail by officer")
    with pytest.raises(Denied):
        await client.approve("ap", by="ann", roles=["clerk"])
    assert (await client.approve("ap", by="ann", roles=["officer"])).status == "waiting"
    with pytest.raises(Conflict):
        await client.deny("ap", by="ann", roles=["officer"])


async def test_resolving_a_call_in_doubt(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    await desk.play(
        run_id,
        ev.ToolCallRequested(
            call_id=CALL, tool="mail", args=Raw(b"1"), args_digest="d", idempotency_key="k", effect=Effect.UNSAFE, seen=1, mark=mark()
        ),
        ev.ToolCallInDoubt(call_id=CALL, tool="mail", attempt=1, error=Failure(type="TimeoutError", message="no answer")),
    )
    assert "in doubt" in (await client.get(run_id)).waiting_for
    await client.resolve(run_id, CALL, "completed", result="r-17", by="ann")
    events = [event async for event in client.events(run_id)]
    data = msgspec.json.decode(events[-1].data)
    assert (data["type"], data["result"], data["via"], data["by"]) == ("tool_call_completed", "r-17", "person", "ann")


async def test_lists(client: Client, desk: Desk) -> None:
    made = [await desk.started(labels={"n": str(n)}) for n in range(5)]
    assert [run.run_id for run in await client.list(limit=3)] == sorted(made, reverse=True)[:3]
    assert [run.run_id for run in await client.list(labels={"n": "2"})] == [made[2]]
    desk.hosts.agents = [AgentView(definition=AgentDefinition(name="desk", build="b1"))]
    assert [found.definition.name for found in await client.agents()] == ["desk"]
    assert await client.tools() == []
    assert (await client.call("dead.list", DeadList(), DeadPage)).dead == []


async def test_a_bus_that_was_given_stays_open(broker: MemoryBroker, desk: Desk) -> None:
    run_id = await desk.started()
    async with MemoryBus(broker) as bus:
        async with Client(prefix="t", bus=bus) as first:
            await first.get(run_id)
        async with Client(prefix="t", bus=bus) as second:
            await second.get(run_id)
