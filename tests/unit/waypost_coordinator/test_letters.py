"""The letter box: order, limits, and what is taken out."""

from __future__ import annotations

import asyncio

from tests.unit.waypost_coordinator.rig import new_run
from waypost_coordinator.letters import Letter, LetterBox, Rederive
from waypost_proto.mailbox import Reply


def letter(partition: int = 0, **more: object) -> Letter:
    return Letter(mail=Rederive(), run_id=new_run(), partition=partition, **more)  # type: ignore[arg-type]


def filled(*letters: Letter) -> LetterBox:
    box = LetterBox()
    for each in letters:
        box.put(each)
    return box


def test_first_in_first_out_at_most_so_many() -> None:
    letters = [letter() for _ in range(5)]
    box = filled(*letters)
    assert box.take(3) == letters[:3]
    assert box.take(3) == letters[3:]
    assert box.take(3) == []


def test_a_letter_with_a_limit_is_taken_in_small_company() -> None:
    a, b, c, d = letter(), letter(limit=2), letter(), letter(limit=1)
    box = filled(a, b, c, d)
    assert box.take(10) == [a, b]
    assert box.take(10) == [c]
    assert box.take(10) == [d]


def test_what_is_put_back_is_before_all_that_came_later_whoever_puts_back_first() -> None:
    letters = [letter() for _ in range(6)]
    box = filled(*letters)
    first, second = box.take(2), box.take(2)
    box.put_back(first)
    box.put_back(second)
    assert box.take(10) == letters


def test_the_letters_of_lost_partitions_are_taken_out() -> None:
    ours, theirs = letter(0), letter(1)
    box = filled(theirs, ours)
    assert box.remove([1]) == [theirs]
    assert box.take(10) == [ours]
    assert box.remove([0]) == []


async def test_waiting_for_a_letter_survives_cancellation() -> None:
    box = LetterBox()
    waiting = asyncio.ensure_future(box.filled())
    await asyncio.sleep(0)
    waiting.cancel()
    one = letter()
    box.put(one)
    await box.filled()
    assert box.take(1) == [one]


def test_a_dropped_letter_tells_its_caller_and_whoever_counts_on_it() -> None:
    told: list[object] = []
    one = letter(answer=told.append, dropped=lambda: told.append("dropped"))
    reply = Reply(run_id=one.run_id, ok=False)
    one.drop(reply)
    letter().drop(reply)
    assert told == [reply, "dropped"]
