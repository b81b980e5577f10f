"""From letters to batches: encodings, causes, positions, and what one bad letter does."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.rig import PARTITIONS, Parts, Replica, Site, new_run, start
from waypost_coordinator.deciding import Decider, Undecidable
from waypost_coordinator.letters import Rederive
from waypost_coordinator.posting import Poster
from waypost_coordinator.waking import Waker
from waypost_core.evolve import fold
from waypost_core.state import decode_state
from waypost_proto.codec import decode, encode
from waypost_proto.commands import CallTool, StartChild
from waypost_proto.events import Event
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import Advance, Cancel, Pause, Resume, Signal, StartRun
from waypost_proto.values import Token


@pytest.fixture
def decider(parts: Parts) -> Decider:
    poster = Poster(parts.ground, parts.hosts)  # type: ignore[arg-type]
    return Decider(parts.ground, poster, Waker(poster, parts.hosts, lambda *_: None), parts.hosts)  # type: ignore[arg-type]


async def test_one_batch_holds_many_messages_of_many_runs(parts: Parts, decider: Decider) -> None:
    one, two = new_run(0), new_run(1)
    letters = [
        parts.letter(mail)
        for mail in (start(one), start(two), Signal(run_id=one, request_id="s", name="go"), Pause(run_id=two, request_id="p"))
    ]
    batch = await decider.decide(letters)
    assert [(row.run_id, row.seq, row.position, row.type) for row in batch.rows.events] == [
        (one, 1, 1, "run_started"),
        (two, 1, 1, "run_started"),
        (one, 2, 2, "signal_received"),
        (two, 2, 2, "run_paused"),
    ]
    assert batch.positions == {0: 2, 1: 2}
    assert [row.cause for row in batch.rows.events] == ["", "", "s", "p"]
    assert len([out for out in batch.outgoing if ".work." in out.subject]) == 1, "one activation a run, none for a paused one"
    for run_id in (one, two):
        row = batch.rows.runs[run_id]
        assert fold(decode(Event, event.body) for event in batch.rows.events if event.run_id == run_id) == decode_state(row.state)


async def test_the_stored_bytes_are_the_published_bytes(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 14: numbers and key order as they came."""
    odd = b'{"b": 1.50,  "a": [1e3, "\\u0000", "\xc3\xa9"]}'
    run_id = await replica.start(input=Raw(odd))
    (stored,) = desk.events(run_id)
    assert odd in stored.body
    assert json.loads(stored.body)["data"]["input"] == json.loads(odd)
    await replica.submit(Pause(run_id=run_id, request_id="p"))
    published = [m.body for m in desk.on("EVENTS") if run_id in m.subject]
    assert published == [event.body for event in desk.events(run_id)][: len(published)]


async def test_recorded_at_never_runs_backwards_within_a_run(parts: Parts, decider: Decider) -> None:
    """CORRECTNESS.md row 19."""
    run_id = new_run()
    first = await decider.decide([parts.letter(start(run_id))])
    parts.ground.clock.set(parts.wall - 3_600.0, parts.ticks)
    second = await decider.decide([parts.letter(Signal(run_id=run_id, request_id="s", name="go"))])
    assert second.rows.events[0].recorded_at == first.rows.events[0].recorded_at


async def test_a_letter_of_a_partition_that_is_gone_is_let_go(parts: Parts, decider: Decider) -> None:
    told: list[object] = []
    gone = parts.letter(start(new_run(1)), answer=told.append, dropped=lambda: told.append("dropped"))
    del parts.ground.epochs[1]
    kept = parts.letter(start(new_run(0)))
    batch = await decider.decide([gone, kept])
    assert batch.letters == [kept]
    assert told[0].code == "503"  # type: ignore[attr-defined]
    assert told[1] == "dropped"


async def test_what_breaks_the_machine_is_named(parts: Parts, decider: Decider, monkeypatch: pytest.MonkeyPatch) -> None:
    """CORRECTNESS.md row 14: a bug in deciding is one letter's affair."""
    healthy, broken = parts.letter(start(new_run())), parts.letter(start(new_run()))

    def decide(state, message, env):  # type: ignore[no-untyped-def]
        if message is broken.mail:
            raise KeyError("a bug")
        return original(state, message, env)

    from waypost_coordinator import deciding

    original = deciding.decide
    monkeypatch.setattr(deciding, "decide", decide)
    with pytest.raises(Undecidable, match="KeyError") as caught:
        await decider.decide([healthy, broken])
    assert caught.value.letter is broken


async def test_deriving_again_asks_nothing_of_a_run_that_is_not_there(parts: Parts, decider: Decider) -> None:
    run_id = new_run()
    batch = await decider.decide([parts.letter(Rederive(), run_id)])
    assert batch.outgoing == []
    assert batch.rows.empty()


async def test_a_repeat_gives_no_rows_and_is_answered_as_one(parts: Parts, decider: Decider) -> None:
    run_id = new_run()
    told: list[object] = []
    mail: StartRun = start(run_id)
    await decider.decide([parts.letter(mail)])
    batch = await decider.decide(
        [parts.letter(mail, answer=told.append), parts.letter(Resume(run_id=run_id, request_id="r"), answer=told.append)]
    )
    assert batch.rows.empty()
    assert [reply.duplicate for _, reply in batch.replies] == [True, True]


def advance(run_id: RunId, *items: object, base: str = "", seen: int = 1) -> Advance:
    return Advance(
        run_id=run_id, agent="clerk", worker="w1", build="b1", token=Token(1, 1), base=base, seen=seen, items=Raw(encode(list(items)))
    )


def pays() -> CallTool:
    return CallTool(seen=1, id=CallId("0:1"), tool="pay", args=Raw(b"{}"))


async def test_a_call_that_is_paused_in_the_batch_that_requests_it_is_not_sent_before_the_resume(parts: Parts, decider: Decider) -> None:
    """A gateway that got it would find no permit, and the call would fail for good."""
    run_id = new_run()
    await decider.decide([parts.letter(start(run_id))])
    batch = await decider.decide([parts.letter(advance(run_id, pays())), parts.letter(Pause(run_id=run_id, request_id="p"))])
    assert [out.subject for out in batch.outgoing if ".tools." in out.subject] == []
    assert batch.rows.permits == {}
    resumed = await decider.decide([parts.letter(Resume(run_id=run_id, request_id="r"))])
    assert [out.subject for out in resumed.outgoing if ".tools." in out.subject] == ["t.tools.pay"]
    assert list(resumed.rows.permits) == [(run_id, "0:1")]


async def test_a_resumed_run_gets_an_activation_whatever_was_sent_before_the_pause(parts: Parts, decider: Decider) -> None:
    """Its worker has let it go: an answer to what was sent before may never come."""
    run_id = new_run()
    started = await decider.decide([parts.letter(start(run_id))])
    sent = [out.msg_id for out in started.outgoing if ".work." in out.subject]
    await decider.decide([parts.letter(Pause(run_id=run_id, request_id="p"))])
    resumed = await decider.decide([parts.letter(Resume(run_id=run_id, request_id="r"))])
    again = [out.msg_id for out in resumed.outgoing if ".work." in out.subject]
    assert (len(sent), len(again)) == (1, 1)
    assert sent != again


async def test_mail_to_a_child_is_read_in_the_order_in_which_it_was_sent(parts: Parts, decider: Decider) -> None:
    """The inbox is read by message id: a cancel that came before the start would find no run and be lost."""
    run_id = new_run()
    await decider.decide([parts.letter(start(run_id))])
    child = StartChild(seen=1, id=CallId("0:1"), agent="clerk", input=Raw(b"1"))
    begun = await decider.decide([parts.letter(advance(run_id, child))])
    ended = await decider.decide([parts.letter(Cancel(run_id=run_id, request_id="c"))])
    (start_id,), (cancel_id,) = begun.rows.inbox, ended.rows.inbox
    assert start_id < cancel_id


async def test_a_cancel_that_overtakes_the_start_of_its_child_is_kept(parts: Parts, decider: Decider) -> None:
    """The start may be lost on the way and repeated, while what came after it arrives at once."""
    child = new_run(0)
    cancel = Cancel(run_id=child, request_id="c")
    early = await decider.decide([replace(parts.letter(cancel), inbox_id="a")])
    assert early.rows.inbox_remove == []
    later = await decider.decide([replace(parts.letter(start(child)), inbox_id="b"), replace(parts.letter(cancel), inbox_id="a")])
    assert later.rows.inbox_remove == ["b", "a"]
    assert [row.type for row in later.rows.events] == ["run_started", "run_cancelled"]


async def test_a_resume_that_overtakes_its_pause_comes_again_after_it(parts: Parts, decider: Decider) -> None:
    """Else the pause, which comes later, would hold the run for ever."""
    run_id = new_run(0)
    await decider.decide([parts.letter(start(run_id))])
    resume, pause = Resume(run_id=run_id, request_id="resume.9"), Pause(run_id=run_id, request_id="pause.8")
    early = await decider.decide([replace(parts.letter(resume), inbox_id="9")])
    assert early.rows.inbox_remove == []
    rows = [replace(parts.letter(mail), inbox_id=name, in_order=True) for name, mail in (("8", pause), ("9", resume))]
    later = await decider.decide(rows)
    assert later.rows.inbox_remove == ["8", "9"]
    assert [row.type for row in later.rows.events] == ["run_paused", "run_resumed"]
    nothing = await decider.decide([replace(parts.letter(Resume(run_id=run_id, request_id="r")), inbox_id="a", in_order=True)])
    assert nothing.rows.inbox_remove == ["a"], "once"


async def test_a_letter_of_another_replicas_run_leaves_no_state_in_the_cache(parts: Parts, decider: Decider) -> None:
    """The owner goes on with the run; a state from before would be decided on when its partition comes to us."""
    await parts.store.leases.ensure_partitions(PARTITIONS)
    leases = await parts.store.leases.acquire("me", at_most=PARTITIONS, lease_seconds=1_000)
    run_id = new_run(1)
    batch = await decider.decide([parts.letter(start(run_id))])
    epoch = next(lease.epoch for lease in leases if lease.partition == 1)
    await parts.store.log.commit(batch.rows.commit("me", [(1, epoch, 1, 0)]))
    assert await parts.store.reads.get(run_id) is not None
    parts.ground.runs.clear()
    del parts.ground.epochs[1]
    await decider.decide([parts.letter(Signal(run_id=run_id, request_id="s", name="go"))])
    assert parts.ground.runs.get(run_id) is None
