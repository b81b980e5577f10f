"""Dead letters: row, copy, ack, in that order; any number of times."""

from __future__ import annotations

import pytest

from tests.unit.waypost_coordinator.rig import Parts, new_run
from tests.waiting import wait_until
from waypost_coordinator.dead import TRIES, Undertaker
from waypost_coordinator.letters import Letter
from waypost_io.bus.ports import ConsumerSpec, Delivery
from waypost_proto.errors import Unreachable
from waypost_proto.mailbox import Reply, Signal
from waypost_proto.notices import DEAD_REASON_HEADER


@pytest.fixture
def undertaker(parts: Parts) -> Undertaker:
    return Undertaker(parts.ground)


async def delivered(parts: Parts, body: bytes) -> Delivery:
    """A task as intake gets it."""
    spec = ConsumerSpec(stream="T_TASKS", name="intake", filter_subject="t.tasks.>", ack_wait_seconds=0.1)
    await parts.bus.ensure_consumer(spec)
    await parts.bus.publish("t.tasks.clerk", body)
    (delivery,) = await parts.bus.pull("T_TASKS", "intake").next_batch(1)
    return delivery


def copies(parts: Parts) -> list[bytes]:
    return [message.body for message in parts.bus.broker.streams["T_DEAD"].messages.values()]


async def test_refused_twice_it_is_one_row_and_one_copy(parts: Parts, undertaker: Undertaker) -> None:
    delivery = await delivered(parts, b"x")
    for _ in range(2):
        await undertaker.refuse(delivery, "TASKS.a.1", "why\nnot: ü")
    assert len(await parts.store.dead.list()) == 1
    assert copies(parts) == [b"x"]
    (copy,) = parts.bus.broker.streams["T_DEAD"].messages.values()
    assert copy.headers[DEAD_REASON_HEADER] == "why not:"
    assert parts.bus.broker.streams["T_TASKS"].messages == {}


async def test_without_the_row_there_is_no_ack(parts: Parts, undertaker: Undertaker) -> None:
    delivery = await delivered(parts, b"x")
    parts.store.database.down = True
    with pytest.raises(Unreachable):
        await undertaker.refuse(delivery, "TASKS.a.1", "why")
    assert len(parts.bus.broker.streams["T_TASKS"].messages) == 1
    assert copies(parts) == []


def failing(parts: Parts, told: list[object], source: str = "MAILBOX.1.1") -> Letter:
    mail = Signal(run_id=new_run(), request_id="r", name="go")
    return parts.letter(mail, source=source, subject="t.mailbox.0.control.run.x", body=b"{}", done=lambda: told.append("done"))


async def test_a_message_that_cannot_be_handled_comes_again_and_is_then_dead(parts: Parts, undertaker: Undertaker) -> None:
    """CORRECTNESS.md row 14: failures are counted in the database, so that a crash counts too."""
    told: list[object] = []
    letter = failing(parts, told)
    for _ in range(TRIES - 1):
        await undertaker.failed(letter, "a bug")
    assert told == []
    assert copies(parts) == []
    await undertaker.failed(letter, "a bug")
    assert told == ["done"]
    assert copies(parts) == [b"{}"]
    assert (await parts.store.dead.list())[0].run_id == letter.run_id


async def test_the_shells_own_letters_are_never_dead_but_their_callers_are_told(parts: Parts, undertaker: Undertaker) -> None:
    told: list[object] = []
    letter = failing(parts, told, source="")
    letter.answer = told.append
    letter.dropped = lambda: told.append("dropped")
    for _ in range(TRIES + 1):
        await undertaker.failed(letter, "a bug")
    assert [answer.code for answer in told if isinstance(answer, Reply)] == ["500"] * (TRIES + 1)
    assert "dropped" in told
    assert "done" not in told
    assert copies(parts) == []


async def test_unreadable_mail_is_dead_at_once_and_again_when_the_database_was_away(parts: Parts, undertaker: Undertaker) -> None:
    delivery = await delivered(parts, b"\xff")
    parts.store.database.down = True
    undertaker.unreadable(delivery, "MAILBOX.1.1", "not UTF-8")
    await wait_until(lambda: not undertaker._tasks)
    assert len(parts.bus.broker.streams["T_TASKS"].messages) == 1
    parts.store.database.down = False
    undertaker.unreadable(delivery, "MAILBOX.1.1", "not UTF-8")
    await wait_until(lambda: copies(parts) == [b"\xff"])
    assert parts.bus.broker.streams["T_TASKS"].messages == {}
