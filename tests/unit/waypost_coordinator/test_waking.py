"""When a run gets an activation: one unanswered at a time, and a new one only when an answer cannot come."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.waypost_coordinator.rig import Parts, Replica, Site, call, new_run
from tests.waiting import wait_until
from waypost_coordinator.batch import Batch
from waypost_coordinator.letters import Letter, Rederive
from waypost_coordinator.live import LiveRun
from waypost_coordinator.posting import Poster
from waypost_coordinator.waking import LONGEST_PAUSE_SECONDS, REJECTIONS_AT_ONCE, Waker
from waypost_core.state import RunState
from waypost_proto.codec import decode
from waypost_proto.ids import CallId
from waypost_proto.mailbox import Signal
from waypost_proto.values import Token
from waypost_proto.work import Activation

NOW = Token(epoch=1, counter=1 << 40)
"""Of whatever was sent last."""


class Bench:
    """A waker over a poster; `send` gives what is due and returns the message ids and activations."""

    def __init__(self, parts: Parts) -> None:
        self.hosts = parts.hosts
        self.poster = Poster(parts.ground, parts.hosts)  # type: ignore[arg-type]
        self.later: list[float] = []
        self.owed: Callable[[], None] | None = None
        self.waker = Waker(self.poster, parts.hosts, self._note)  # type: ignore[arg-type]
        self.batch = Batch(letters=[])

    def _note(self, seconds: float, _live: LiveRun, done: Callable[[], None] | None) -> None:
        self.later.append(seconds)
        self.owed = done

    def send(self) -> list[tuple[str, str, Activation]]:
        self.batch = Batch(letters=[])
        for live, forced in self.waker.due():
            self.waker.wake(self.batch, live, epoch=1, forced=forced)
        return [(out.msg_id, out.subject, decode(Activation, out.body)) for out in self.batch.outgoing]


@pytest.fixture
def bench(parts: Parts) -> Bench:
    return Bench(parts)


def run_with(**state: object) -> LiveRun:
    return LiveRun(state=RunState(run_id=new_run(), agent="clerk", **{"seq": 1, "outside": 1, **state}), partition=0)  # type: ignore[arg-type]


def test_however_often_a_run_asks_it_gets_one_activation_at_a_time(bench: Bench) -> None:
    run = run_with()
    bench.waker.want(run)
    bench.waker.want(run)
    assert len(bench.send()) == 1
    run.state.seq = run.state.outside = 2
    bench.waker.want(run)
    assert bench.send() == [], "a second one while the first is unanswered could reach a second worker"
    run.state.seen = 1
    bench.waker.answered(run, 1, NOW)
    assert [activation.upto for _, _, activation in bench.send()] == [2]
    run.state.seen = 2
    bench.waker.answered(run, 2, NOW)
    assert bench.send() == []


def test_what_went_to_a_worker_that_the_run_has_left_is_sent_to_the_one_it_is_with(bench: Bench) -> None:
    """An older activation for any may reach another worker, whose first answer is the same, and so is accepted."""
    run = run_with(seq=3, outside=3, seen=1, build="b1", worker="w1")
    bench.waker.want(run)
    assert len(bench.send()) == 1
    run.state.worker, run.state.seq = "w2", 4
    bench.waker.answered(run, 1, NOW)
    assert [activation.upto for _, _, activation in bench.send()] == [3]


def test_after_a_load_nobody_knows_what_was_sent_and_the_answer_tells(bench: Bench) -> None:
    run = run_with(seq=5, outside=5, seen=3)
    run.delivered, run.sure = 5, False
    bench.waker.want(run)
    assert bench.send() == []
    run.state.seen = 4
    bench.waker.answered(run, 4, NOW)
    assert [activation.upto for _, _, activation in bench.send()] == [5]


def test_a_rejected_advance_leads_to_another_activation_and_then_to_growing_pauses(bench: Bench) -> None:
    run = run_with(worker="w1", build="b1")
    run.delivered = 1
    ids = []
    for _ in range(REJECTIONS_AT_ONCE):
        bench.waker.rejected(run, "w1")
        ids += [msg_id for msg_id, _, _ in bench.send()]
    assert len(set(ids)) == REJECTIONS_AT_ONCE, "derived again under new ids"
    for _ in range(30):
        bench.waker.rejected(run, "w1")
        assert bench.send() == []
    assert bench.later[:3] == [0.5, 1.0, 2.0]
    assert bench.later == sorted(bench.later)
    assert bench.later[-1] == LONGEST_PAUSE_SECONDS
    bench.waker.answered(run, 0, NOW)
    bench.waker.rejected(run, "w1")
    assert len(bench.send()) == 1, "an accepted advance ends the pauses"


def test_a_rejected_advance_is_acked_only_when_its_activation_is_on_the_road(bench: Bench) -> None:
    """Else a coordinator that dies in the pause takes with it what nobody else knows: that an activation is owed."""
    run = run_with(worker="w1", build="b1")
    run.delivered, run.rejections = 1, REJECTIONS_AT_ONCE
    acked: list[str] = []
    first = Letter(mail=Rederive(), run_id=run.state.run_id, partition=0, done=lambda: acked.append("first"))
    bench.waker.rejected(run, "w1", first)
    assert first.done is None, "the batch that it is in does not ack it"
    assert bench.owed is not None
    bench.owed()
    assert acked == ["first"]
    run.rejections = 30
    late = Letter(mail=Rederive(), run_id=run.state.run_id, partition=0, done=lambda: acked.append("late"))
    bench.waker.rejected(run, "w1", late)
    assert (bench.owed, late.done is None) == (None, False), "a pause longer than the mailbox waits would only bring it again"


def test_a_rejection_of_a_stranger_changes_nothing_while_the_holder_lives(bench: Bench) -> None:
    """CORRECTNESS.md row 4: the slower of two workers that got the same activation."""
    run = run_with(seen=1, running=1, worker="w1", build="b1")
    run.delivered = 1
    bench.waker.rejected(run, "w2")
    assert bench.send() == []
    bench.hosts.alive.clear()
    bench.waker.rejected(run, "w2")
    assert len(bench.send()) == 1


def test_a_strangers_rejection_may_be_the_answer_that_was_waited_for(bench: Bench) -> None:
    """What was delivered went to the stranger on an older journal: the holder must get it, or nobody ever answers."""
    run = run_with(outside=2, seen=1, worker="w1", build="b1")
    run.delivered = 2
    bench.waker.rejected(run, "w2")
    assert [subject for _, subject, _ in bench.send()] == ["t.work.clerk.b1.w1"]


def test_a_rejection_for_a_run_that_wants_no_worker_changes_nothing(bench: Bench) -> None:
    run = run_with(seen=1, worker="w1")
    bench.waker.rejected(run, "w1")
    assert bench.send() == []
    assert bench.later == []


def test_without_a_host_the_run_is_held_visibly_and_goes_on_when_one_comes(bench: Bench) -> None:
    bench.hosts.workers.clear()
    run = run_with()
    bench.waker.want(run)
    assert bench.send() == []
    assert run.unhosted
    assert bench.batch.touched == {run.state.run_id}
    bench.hosts.workers["clerk", "b1"] = ["w1"]
    bench.waker.want(run, forced=True)
    assert len(bench.send()) == 1
    assert not run.unhosted


def test_every_activation_has_a_token_of_its_own(bench: Bench) -> None:
    """CORRECTNESS.md row 4: (lease epoch, counter never used twice)."""
    run = run_with()
    tokens = []
    for _ in range(5):
        bench.waker.want(run, forced=True)
        tokens += [(activation.token.epoch, activation.token.counter) for _, _, activation in bench.send()]
    assert len(set(tokens)) == 5


def test_a_take_over_keeps_the_message_id_and_a_new_derivation_does_not(bench: Bench) -> None:
    """CORRECTNESS.md rows 11 and 13."""
    run = run_with()
    bench.waker.want(run)
    first = bench.send()[0][0]
    bench.waker.want(run, forced=True, fresh=False)
    assert bench.send()[0][0] == first
    bench.waker.want(run, forced=True)
    assert bench.send()[0][0] != first


@pytest.mark.parametrize("taken_over_first", [True, False])
def test_a_take_over_does_not_keep_the_id_of_what_is_known_to_be_lost(bench: Bench, taken_over_first: bool) -> None:
    """CORRECTNESS.md rows 11, 13 and 22: in one batch the partition is taken over, and the run's worker is told to be gone."""
    run = run_with()
    bench.waker.want(run)
    first = bench.send()[0][0]
    for fresh in (not taken_over_first, taken_over_first):
        bench.waker.want(run, forced=True, fresh=fresh)
    assert [msg_id != first for msg_id, _, _ in bench.send()] == [True]
    bench.waker.want(run, forced=True, fresh=False)
    assert bench.send()[0][0] == first, "the next batch knows of no loss"


def test_a_rejected_advance_is_followed_by_a_new_id_also_in_the_batch_of_a_take_over(bench: Bench) -> None:
    run = run_with()
    bench.waker.want(run)
    first = bench.send()[0][0]
    bench.waker.want(run, forced=True, fresh=False)
    bench.waker.rejected(run, "w1")
    assert [msg_id != first for msg_id, _, _ in bench.send()] == [True]


def test_a_batch_that_is_given_up_wakes_nobody(bench: Bench) -> None:
    bench.waker.want(run_with())
    bench.waker.forget()
    assert bench.send() == []


async def test_a_second_worker_is_refused_and_nothing_of_it_is_mixed_in(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 4: both answer on the same journal; the first counts."""
    await desk.hosts(worker="w2")
    run_id = await replica.start()
    given = await desk.activation(run_id)
    await desk.advance(given, call("look", given), worker="w1")
    await desk.advance(given, call("pay", given), worker="w2")
    await wait_until(desk.rejected)
    assert desk.types(run_id) == ["run_started", "tool_call_requested"]
    assert [call.tool for call in desk.calls(run_id)] == ["look"]
    assert len(desk.activations(run_id)) == 1


async def test_an_older_tokens_fitting_answer_is_kept(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 4: what was paid for is used, although a newer activation is out."""
    run_id = await replica.start()
    old = await desk.activation(run_id)
    await replica.coordinator._front.redispatch(run_id)
    new = await desk.activation(run_id, 2)
    assert new.token != old.token
    await desk.advance(old, call("look", old), worker="w1")
    await desk.until(run_id, "tool_call_requested")


async def test_what_arrives_while_an_activation_is_out_goes_with_the_next_one(desk: Site, replica: Replica) -> None:
    run_id = await replica.start()
    given = await desk.activation(run_id)
    await replica.submit(Signal(run_id=run_id, request_id="s1", name="go"))
    await replica.submit(Signal(run_id=run_id, request_id="s2", name="go"))
    assert len(desk.activations(run_id)) == 1
    await desk.advance(given, call("look", given))
    second = await desk.activation(run_id, 2)
    assert [entry.seq for entry in second.entries] == [2, 3]


def test_a_step_that_was_granted_too_early_is_granted_again(bench: Bench) -> None:
    """The worker told of something else before the grant came: the grant does not count that, so the worker does not take it."""
    run = run_with(seen=1, step_wanted=CallId("0:1"))
    bench.waker.want(run)
    [(_, _, before)] = bench.send()
    run.state.seq += 1
    bench.waker.answered(run, 1, Token(epoch=before.token.epoch, counter=before.token.counter - 1))
    [(_, _, again)] = bench.send()
    assert again.token.counter > before.token.counter
    bench.waker.answered(run, 1, again.token)
    assert bench.send() == [], "what is told under it was told after it"


def test_a_step_is_granted_again_where_nobody_knows_what_was_sent(bench: Bench) -> None:
    run = run_with(seen=1, step_wanted=CallId("0:1"))
    bench.waker.answered(run, 1, Token(epoch=1, counter=1))
    assert len(bench.send()) == 1
