"""Effects become rows and messages: subjects, message ids, emissions, lifetimes."""

from __future__ import annotations

import pytest
from msgspec import UNSET, Raw

from tests.unit.waypost_coordinator.rig import Parts, Replica, Site, call, new_run
from tests.waiting import wait_until
from waypost_coordinator.batch import Batch
from waypost_coordinator.live import LiveRun
from waypost_coordinator.posting import INBOX_HEADER, Emissions, Poster
from waypost_core import effects as fx
from waypost_core.state import Call, RunState
from waypost_core.timing import LATEST
from waypost_proto.codec import decode
from waypost_proto.ids import CallId, RunId, traceparent
from waypost_proto.mailbox import Cancel
from waypost_proto.tools import ToolCall
from waypost_proto.values import Effect

ONE = CallId("0:1")


@pytest.fixture
def poster(parts: Parts) -> Poster:
    return Poster(parts.ground, parts.hosts)  # type: ignore[arg-type]


def run(run_id: RunId | None = None, **state: object) -> LiveRun:
    made = RunState(run_id=run_id or new_run(0), agent="clerk", **{"seq": 4, "outside": 1, **state})  # type: ignore[arg-type]
    made.calls = {ONE: Call(kind="tool", seq=2, sent=2, name="pay", effect=Effect.UNSAFE, args=Raw(b"{}"), args_digest="d")}
    return LiveRun(state=made, partition=0)


def posted(poster: Poster, live: LiveRun, *effects: fx.AnyEffect, emission: int = 0) -> Batch:
    batch = Batch(letters=[])
    for effect in effects:
        poster.post(batch, live, effect, emission=emission)
    return batch


def test_a_calls_message_id_is_run_cause_call_and_emission(poster: Poster) -> None:
    """CORRECTNESS.md row 11: publishing again keeps the id, deriving again raises the emission."""
    live = run()
    first = posted(poster, live, fx.SendTool(ONE, 2)).outgoing[0]
    again = posted(poster, live, fx.SendTool(ONE, 2)).outgoing[0]
    derived = posted(poster, live, fx.SendTool(ONE, 2), emission=poster.emissions.again(1)).outgoing[0]
    assert first.msg_id == again.msg_id == f"{live.state.run_id}.2.t0:1.d.0"
    assert derived.msg_id != first.msg_id
    assert decode(ToolCall, derived.body).emission > 0
    assert first.subject == "t.tools.pay"


def test_emissions_of_two_lease_epochs_never_meet() -> None:
    one, two = Emissions(), Emissions()
    assert {one.again(1) for _ in range(100)}.isdisjoint(two.again(2) for _ in range(100))


def test_large_arguments_are_read_from_the_log_first(poster: Poster) -> None:
    live = run()
    live.state.calls[ONE].args = UNSET
    batch = posted(poster, live, fx.SendTool(ONE, 2))
    assert batch.outgoing == []
    trace = f"traceparent: {traceparent(live.state.run_id, 2, 1)}\r\n".encode()
    assert [(seq, msg_id, sent) for _, seq, msg_id, sent in batch.hydrate] == [(2, f"{live.state.run_id}.2.t0:1.d.0", trace)]


@pytest.mark.parametrize(("running", "target"), [(0, "any"), (1, "w1")])
def test_a_worker_that_leaves_gets_only_what_concerns_a_step_that_runs_there(
    poster: Poster, parts: Parts, running: int, target: str
) -> None:
    parts.hosts.workers["clerk", "b1"] = ["w1", "w2"]
    parts.hosts.alive, parts.hosts.draining = {"w1", "w2"}, {"w1"}
    batch, live = Batch(letters=[]), run(worker="w1", build="b1", running=running)
    poster.activate(batch, live, build="b1", epoch=1)
    assert batch.outgoing[0].subject == f"t.work.clerk.b1.{target}"


@pytest.mark.parametrize(("running", "build"), [(0, None), (1, "b1")])
def test_the_last_worker_of_all_that_leaves_is_no_host_but_for_what_runs_there(
    poster: Poster, parts: Parts, running: int, build: str | None
) -> None:
    parts.hosts.draining = {"w1"}
    assert poster.build_for(run(worker="w1", build="b1", running=running)) == build


def test_an_activation_is_for_the_worker_that_has_the_run_while_it_lives(poster: Poster, parts: Parts) -> None:
    batch, live = Batch(letters=[]), run(worker="w1", build="b1")
    poster.activate(batch, live, build="b1", epoch=1)
    parts.hosts.alive.clear()
    poster.activate(batch, live, build="b1", epoch=1)
    sticky, anyone = batch.outgoing
    assert (sticky.subject, anyone.subject) == ("t.work.clerk.b1.w1", "t.work.clerk.b1.any")


def test_a_run_stays_with_its_build_while_a_worker_of_it_lives(poster: Poster, parts: Parts) -> None:
    parts.hosts.workers["clerk", "b2"] = ["w9"]
    parts.hosts.current = "b2"
    live = run(build="b1", worker="w1")
    assert poster.build_for(live) == "b1"
    parts.hosts.workers["clerk", "b1"] = []
    parts.hosts.expected.add("w1")
    assert poster.build_for(live) == "b1", "a new coordinator has not heard everybody yet"
    parts.hosts.expected.clear()
    assert poster.build_for(live) == "b2"
    parts.hosts.workers.clear()
    assert poster.build_for(live) is None


def test_mail_between_runs_is_a_row_and_goes_by_hand_to_a_run_of_ours(poster: Poster, parts: Parts) -> None:
    """CORRECTNESS.md row 2: the row is in the sender's transaction."""
    live, child = run(), new_run(1)
    mail = fx.SendMail(to=child, agent="clerk", mail=Cancel(run_id=child, request_id="r"), sent=4, key="cancel.4")
    batch = posted(poster, live, mail)
    (row,) = batch.rows.inbox.values()
    assert (row.run_id, row.partition, row.sender) == (child, 1, live.state.run_id)
    assert [letter.inbox_id for letter in batch.local_mail] == [row.message_id]
    del parts.ground.epochs[1]
    away = posted(poster, live, mail)
    assert away.local_mail == []
    assert (away.outgoing[0].headers or {})[INBOX_HEADER] == row.message_id
    assert list(away.rows.inbox) == [row.message_id]


def test_a_permit_of_the_same_batch_that_is_revoked_is_never_written(poster: Poster) -> None:
    """CORRECTNESS.md row 7."""
    live = run()
    batch = posted(poster, live, fx.GrantPermit(ONE), fx.RevokeRun())
    assert batch.rows.permits == {}
    assert batch.rows.revoke_runs == {live.state.run_id}
    batch = posted(poster, live, fx.GrantPermit(ONE), fx.RevokeCall(ONE))
    assert batch.rows.permits == {}
    batch = posted(poster, live, fx.RevokeRun(), fx.GrantPermit(ONE))
    assert list(batch.rows.permits) == [(live.state.run_id, ONE)]


def test_a_pause_in_the_same_batch_does_not_drop_the_question_what_became_of_a_call(poster: Poster) -> None:
    """A reconciliation needs no permit, and nobody would ask again: a run that ends would wait for its answer for ever."""
    live = run()
    executed = posted(poster, live, fx.SendTool(call_id=ONE, sent=2), fx.RevokeRun())
    assert executed.outgoing == []
    asked = posted(poster, live, fx.SendTool(call_id=ONE, sent=2, mode="reconcile"), fx.RevokeRun())
    assert len(asked.outgoing) == 1


def test_a_timer_past_all_time_is_cut_to_what_the_database_can_hold(poster: Poster) -> None:
    """CORRECTNESS.md row 14: `asyncio.sleep(1e300)` must not poison a batch."""
    live = run()
    batch = posted(poster, live, fx.SetTimer("0:2", 1e300))
    assert [row.due_at for row in batch.rows.timers.values() if row is not None] == [LATEST]
    batch = posted(poster, live, fx.SetTimer("0:2", 5.0), fx.ClearTimer("0:2"))
    assert list(batch.rows.timers.values()) == [None]


async def test_a_repeated_publish_is_stored_once_and_a_derived_one_again(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 11: the duplicate window swallows the first kind and not the second."""
    run_id = await replica.start()
    given = await desk.activation(run_id)
    await wait_until(lambda: desk.published_events(run_id) == [1])
    replica.bus.time_out = 1
    await desk.advance(given, call("look", given))
    await desk.call(run_id)
    await wait_until(lambda: [s for s, _ in replica.bus.published].count("t.tools.look") == 2, message="not published again")
    assert len(desk.calls(run_id)) == 1
    await replica.coordinator._front.redispatch(run_id)
    assert (await desk.call(run_id, 2)).emission > 0


async def test_large_arguments_reach_the_gateway_whole_after_a_reload(desk: Site, replica: Replica) -> None:
    run_id = await replica.start()
    given = await desk.activation(run_id)
    args = b'{"text":"' + b"x" * 10_000 + b'"}'
    await desk.advance(given, call("look", given, args=Raw(args)))
    await desk.call(run_id)
    replica.ground.runs.clear()
    await replica.coordinator._front.redispatch(run_id)
    assert bytes((await desk.call(run_id, 2)).args) == args  # type: ignore[arg-type]
