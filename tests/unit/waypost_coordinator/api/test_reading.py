"""`runs.get|list|events|journal`, agents and tools, paging by count and by bytes."""

from __future__ import annotations

import re

import msgspec
import pytest
from msgspec import UNSET, Raw

from tests.unit.waypost_coordinator.api.conftest import Caller
from tests.unit.waypost_coordinator.api.rig import Desk, event_of, new_id
from waypost_coordinator.api.exchange import PAGE_BYTES
from waypost_coordinator.api.journal import JOURNAL_TYPES
from waypost_proto import events as ev
from waypost_proto.api import AgentPage, AgentView, EventPage, NameList, RunPage, RunRef, RunsList, RunView, ToolPage, ToolView
from waypost_proto.errors import BadInput, NotFound, TransientError
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import Pause
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.values import Budget, Effect, Failure, Mark, Parent
from waypost_proto.work import JournalPage


def mark(digest: str = "d-1", seen: int = 1) -> Mark:
    return Mark(digest=digest, seen=seen, worker="w-1", build="b1")


def step(number: int, *, result: bytes = b"1", seen: int = 1) -> ev.StepCompleted:
    call = CallId(f"0:{number}")
    return ev.StepCompleted(call_id=call, name="think", at=1.0, result=Raw(result), seen=seen, mark=mark(f"d-{number}", seen))


async def test_a_run_is_shown_whole(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started(labels={"team": "red"}, budget=Budget(max_steps=5), correlation_id="c")
    await desk.play(run_id, step(1), ev.StateChanged(value=Raw(b'{"at":"risk"}'), seen=1, mark=mark()))
    view = await ask("runs.get", RunRef(run_id=run_id), RunView)
    assert (view.run_id, view.agent, view.status, view.build, view.correlation_id) == (run_id, "desk", "waiting", "b1", "c")
    assert (view.labels, view.budget, view.last_seq) == ({"team": "red"}, Budget(max_steps=5), 3)
    assert bytes(view.state) == b'{"at":"risk"}'  # type: ignore[arg-type]
    await desk.play(run_id, ev.RunCompleted(result=Raw(b'"fine"'), seen=1, mark=mark()))
    view = await ask("runs.get", RunRef(run_id=run_id), RunView)
    assert (view.status, bytes(view.result)) == ("completed", b'"fine"')  # type: ignore[arg-type]


async def test_a_failed_run_says_why_in_both_views(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    error = Failure(type="ValueError", message="no such account")
    await desk.play(run_id, ev.RunFailed(error=error, seen=1, mark=mark()))
    assert (await ask("runs.get", RunRef(run_id=run_id), RunView)).error == error
    [listed] = (await ask("runs.list", RunsList(status="failed"), RunPage)).runs
    assert listed.error == error


async def test_unknown_runs_are_not_found(ask: Caller) -> None:
    for endpoint, answer in (("runs.get", RunView), ("runs.events", EventPage), ("runs.journal", JournalPage)):
        with pytest.raises(NotFound, match="no run"):
            await ask(endpoint, RunRef(run_id=new_id()), answer)


async def test_lists_page_newest_first_and_filter(ask: Caller, desk: Desk) -> None:
    made = [await desk.started("desk" if n % 2 else "other", labels={"n": str(n)}) for n in range(6)]
    await desk.decide(Pause(run_id=made[1], request_id="r"))
    seen: list[str] = []
    before = None
    while True:
        page = await ask("runs.list", RunsList(before=before, limit=2), RunPage)
        seen += [run.run_id for run in page.runs]
        before = page.next_before
        if before is None:
            break
    assert seen == sorted(made, reverse=True)
    assert [r.run_id for r in (await ask("runs.list", RunsList(status="paused"), RunPage)).runs] == [made[1]]
    assert [r.run_id for r in (await ask("runs.list", RunsList(labels={"n": "3"}), RunPage)).runs] == [made[3]]
    assert {r.agent for r in (await ask("runs.list", RunsList(agent="other"), RunPage)).runs} == {"other"}


@pytest.mark.parametrize("request_", [RunsList(limit=0), RunsList(limit=501), RunsList(status="sleeping"), RunsList(before="x")])
async def test_bad_lists_are_refused(ask: Caller, request_: RunsList) -> None:
    with pytest.raises(BadInput):
        await ask("runs.list", request_, RunPage)


async def test_events_are_the_stored_bytes_in_order(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    await desk.play(run_id, *(step(n) for n in range(1, 8)))
    stored = [row.body for row in await desk.store.log.load_events(run_id)]
    bodies: list[bytes] = []
    after: int | None = 0
    while after is not None:
        page = await ask("runs.events", RunRef(run_id=run_id, after=after, limit=3), EventPage)
        bodies += [bytes(raw) for raw in page.events]
        after = page.next_after
    assert bodies == stored
    assert [event_of(body).seq for body in bodies] == list(range(1, 9))
    assert (await ask("runs.events", RunRef(run_id=run_id, after=8), EventPage)).events == []


async def test_a_page_of_large_events_ends_where_a_message_does(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    large = b'"' + b"x" * 200_000 + b'"'
    await desk.play(run_id, *(step(n, result=large) for n in range(1, 6)))
    seen: list[int] = []
    after: int | None = 0
    pages = 0
    while after is not None:
        message = await ask.raw("runs.events", msgspec.json.encode(RunRef(run_id=run_id, after=after)))
        assert len(message.body) < PAGE_BYTES + 100
        page = msgspec.json.decode(message.body, type=EventPage)
        seen += [event_of(bytes(raw)).seq for raw in page.events]
        after = page.next_after
        pages += 1
    assert seen == [1, 2, 3, 4, 5, 6]
    assert pages == 3


async def test_the_journal_holds_what_the_code_was_given_and_what_it_did(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    call = CallId("0:1")
    await desk.play(
        run_id,
        ev.ToolCallRequested(
            call_id=call, tool="mail", args=Raw(b"{}"), args_digest="d", idempotency_key="k", effect=Effect.READ, seen=1, mark=mark()
        ),
        ev.ToolAttemptFailed(
            call_id=call, tool="mail", attempt=1, max_attempts=3, error=Failure(type="E", message="m"), next_attempt_at=desk.now + 1
        ),
        ev.ToolCallDispatched(call_id=call, attempt=2),
        ev.ToolCallCompleted(call_id=call, tool="mail", attempt=2, result=Raw(b"7")),
    )
    page = await ask("runs.journal", RunRef(run_id=run_id), JournalPage)
    assert [(e.seq, e.type) for e in page.entries] == [(1, "run_started"), (2, "tool_call_requested"), (5, "tool_call_completed")]
    assert (page.digest, page.seen, page.last_seq, page.next_after) == ("d-1", 1, 5, None)
    assert (page.agent, page.build, page.status) == ("desk", "b1", "running")
    assert page.entries[0].at == pytest.approx(desk.now, abs=1e-5)
    assert msgspec.json.decode(page.entries[2].data)["result"] == 7


async def test_the_journal_pages_and_never_passes_the_state_it_goes_with(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    await desk.play(run_id, *(step(n) for n in range(1, 11)))
    first = await ask("runs.journal", RunRef(run_id=run_id, limit=4), JournalPage)
    assert [e.seq for e in first.entries] == [1, 2, 3, 4]
    assert first.next_after == 4
    rest = await ask("runs.journal", RunRef(run_id=run_id, after=4, limit=100), JournalPage)
    assert [e.seq for e in rest.entries] == [5, 6, 7, 8, 9, 10, 11]
    assert (rest.next_after, rest.last_seq, rest.digest) == (None, 11, "d-10")


async def test_events_committed_after_the_state_was_read_are_not_on_the_page(
    ask: Caller, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await desk.started()
    await desk.play(run_id, step(1))
    row = await desk.store.reads.get(run_id)
    await desk.play(run_id, step(2))

    async def stale(_run_id: RunId) -> object:
        return row

    monkeypatch.setattr(desk.store.reads, "get", stale)
    page = await ask("runs.journal", RunRef(run_id=run_id), JournalPage)
    assert (page.digest, page.last_seq, [e.seq for e in page.entries], page.next_after) == ("d-1", 2, [1, 2], None)


async def test_a_state_of_another_version_is_no_journal(ask: Caller, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await desk.started()
    row = await desk.store.reads.get(run_id)
    assert row is not None
    import dataclasses

    other = dataclasses.replace(row, state_version=row.state_version + 1)

    async def newer(_run_id: RunId) -> object:
        return other

    monkeypatch.setattr(desk.store.reads, "get", newer)
    with pytest.raises(TransientError, match="brings it up to date"):
        await ask("runs.journal", RunRef(run_id=run_id), JournalPage)
    view = await ask("runs.get", RunRef(run_id=run_id), RunView)
    assert (view.status, view.waiting_for) == ("pending", "")


def test_the_journal_is_outside_events_and_the_workers_own() -> None:
    assert set(JOURNAL_TYPES) >= ev.OUTSIDE
    assert {"step_completed", "tool_call_requested", "run_advanced", "state_changed"} <= set(JOURNAL_TYPES)
    assert not {"tool_attempt_failed", "approval_requested", "run_paused", "tool_call_dispatched"} & set(JOURNAL_TYPES)


async def test_a_view_that_is_too_large_for_a_message_keeps_the_result(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    big = b'"' + b"s" * 262_000 + b'"'
    await desk.play(
        run_id,
        ev.StateChanged(value=Raw(big), seen=1),
        ev.RunCompleted(result=Raw(b'"' + b"r" * 262_000 + b'"'), seen=1, mark=mark()),
    )
    view = await ask("runs.get", RunRef(run_id=run_id), RunView)
    assert view.state is UNSET
    assert len(bytes(view.result)) == 262_002  # type: ignore[arg-type]


async def test_agents_and_tools_with_their_hosts(ask: Caller, desk: Desk) -> None:
    desk.hosts.agents = [AgentView(definition=AgentDefinition(name="desk", build="b1"), workers=["w-1"])]
    desk.hosts.tools = [ToolView(definition=ToolDefinition(name="mail", effect=Effect.UNSAFE))]
    assert (await ask("agents.list", b"", AgentPage)).agents[0].workers == ["w-1"]
    assert (await ask("tools.list", NameList(), ToolPage)).tools[0].definition.effect is Effect.UNSAFE
    with pytest.raises(BadInput, match="unknown field 'x': known fields here are queues"):
        await ask("tools.list", b'{"x":1}', ToolPage)


async def test_the_list_is_searched(desk: Desk, ask: Caller) -> None:
    parent = await desk.started()
    child = await desk.started(parent=Parent(run_id=parent, call_id=CallId("0:1"), agent="desk"), correlation_id="order-1")
    paused = await desk.started(idempotency_key="key-1")
    await desk.decide(Pause(run_id=paused, request_id="p", by="ann"))

    async def found(**fields: object) -> list[str]:
        return [run.run_id for run in (await ask("runs.list", RunsList(**fields), RunPage)).runs]  # type: ignore[arg-type]

    assert await found(parent=parent) == [child]
    assert await found(text="order") == [child]
    assert await found(text="key-") == [paused]
    assert await found(status="paused, failed") == [paused]
    assert await found(needs_attention=True) == [paused]
    assert await found(created_from="2020-01-01T00:00:00Z", updated_to="2020-01-02T00:00:00+01:00") == []
    for wrong, says in (
        ({"created_from": "yesterday"}, "created_from 'yesterday' is no time"),
        ({"updated_to": "2026-01-01T00:00:00"}, "no time zone"),
        ({"status": "paused,odd"}, "'odd'"),
        ({"text": "a\x00"}, "NUL"),
        ({"parent": "x"}, "UUIDv7"),
    ):
        with pytest.raises(BadInput, match=re.escape(says)):
            await found(**wrong)
