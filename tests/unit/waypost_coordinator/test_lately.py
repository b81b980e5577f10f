"""What JetStream confirmed and a restored server has lost although its sequences do not show it (CORRECTNESS.md row 16, ADR 0197)."""

from __future__ import annotations

from tests.unit.waypost_coordinator.rig import Replica, Site, call, complete, new_run
from tests.waiting import wait_until
from waypost_coordinator.batch import Batch
from waypost_coordinator.lately import Lately
from waypost_coordinator.letters import Letter, Rederive
from waypost_core.messages import HostFound
from waypost_io.store.ports import EventRow
from waypost_proto.ids import RunId

RUN = new_run(0)


def batch(*rows: tuple[int, str], connection: int = 0, letters: tuple[Letter, ...] = (), run_id: RunId = RUN) -> Batch:
    made = Batch(letters=list(letters), connection=connection)
    made.rows.events.extend(
        EventRow(run_id=run_id, seq=seq, type=kind, partition=0, position=seq, recorded_at=1.0, body=b"{}") for seq, kind in rows
    )
    return made


async def test_what_was_lost_and_overtaken_by_others_is_given_out_again_after_the_reconnect(desk: Site, replica: Replica) -> None:
    """The server is restored without our activation and our call, and others have taken its streams past them before we look."""
    given = await desk.activation(untaken := await replica.start())
    asking = await replica.start()
    await desk.advance(first := await desk.activation(asking), call("look", first))
    await desk.call(asking)
    await wait_until(lambda: len(replica.ground.box) == 0 and len(desk.published_events(asking)) == len(desk.events(asking)))
    await replica.coordinator._settler.idle()
    for stream in ("T_WORK", "T_TOOLS"):
        desk.broker.streams[stream].purge(None)  # their sequences stay: as if somebody else's messages had taken them
        desk.broker.streams[stream]._ids.clear()
    assert desk.activations(untaken) == []
    desk.broker.restart()
    assert (await desk.activation(untaken)).upto == given.upto
    await desk.succeed(await desk.call(asking))
    await desk.until(asking, "tool_call_completed")
    await desk.advance(given, complete(given))
    await desk.until(untaken, "run_completed")


async def test_a_reconnect_without_a_loss_gives_nothing_to_a_second_worker(desk: Site, replica: Replica) -> None:
    """The ids are the old ones, and JetStream knows them."""
    run_id = await replica.start()
    await desk.activation(run_id)
    await replica.coordinator._settler.idle()
    rounds = replica.coordinator._sweep
    desk.broker.restart()
    await wait_until(lambda: not rounds._note.is_set() and not replica.ground.lately._doubted)
    other = await replica.start(replica.ground.partition(run_id))  # is decided after what the round put into the box
    await desk.activation(other)
    assert len(desk.activations(run_id)) == 1


def test_what_was_found_whole_is_forgotten_after_a_second_look() -> None:
    lately = Lately()
    lately.settled(batch((1, "run_started")))
    lately.looked()
    lately.reconnected()
    assert lately.doubted() == {RUN: Rederive(above=0, fresh=False)}
    lately.settled(batch((2, "timer_fired"), connection=1))
    lately.looked()
    lately.looked()
    lately.reconnected()
    assert lately.doubted() == {}


def test_what_was_confirmed_over_another_connection_than_it_was_published_over_is_in_doubt() -> None:
    lately = Lately()
    lately.reconnected()
    lately.settled(batch((3, "timer_fired"), connection=0))
    assert lately.doubted() == {RUN: Rederive(above=2, fresh=False)}
    assert lately.doubted() == {}, "once"


def test_of_a_run_the_first_event_counts_and_whether_one_of_them_wakes_it() -> None:
    lately = Lately()
    lately.settled(batch((4, "timer_fired"), (5, "run_advanced")))
    lately.settled(batch((6, "timer_fired")))
    lately.reconnected()
    assert lately.doubted() == {RUN: Rederive(above=3, fresh=False, wake=True)}


def test_what_was_dispatched_without_an_event_is_remembered_too() -> None:
    lately, held, moved = Lately(), new_run(0), new_run(0)
    letters = (
        Letter(mail=HostFound(), run_id=held, partition=0),
        Letter(mail=Rederive(activation_only=True), run_id=moved, partition=0),
        Letter(mail=Rederive(), run_id=RUN, partition=0),
    )
    lately.settled(batch((9, "timer_fired"), letters=letters))
    lately.reconnected()
    only = Rederive(fresh=False, activation_only=True)
    assert lately.doubted() == {held: only, moved: only, RUN: Rederive(fresh=False)}
