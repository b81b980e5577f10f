"""Answers to one coordinator share a message; nothing else does."""

from __future__ import annotations

from waypost_io.bus.ports import Outbound
from waypost_io.mail_frames import MOST, MOST_BYTES, MailFrames
from waypost_proto.codec import decode, decode_union
from waypost_proto.mailbox import AnyMailed, MailFrame


def answer(number: int, *, kind: str = "result", name: str = "look", size: int = 8) -> Outbound:
    return Outbound(f"t.mailbox.{kind}.{name}.r{number}", b'{"n":%d,"x":"%b"}' % (number, b"x" * size), f"m{number}")


def numbers(message: Outbound) -> list[int]:
    frame = decode_union(AnyMailed, message.body)
    assert isinstance(frame, MailFrame)
    return [decode(dict[str, object], each)["n"] for each in frame.mail]  # type: ignore[misc]


def test_answers_to_one_coordinator_are_one_message_in_their_order() -> None:
    (frame,) = MailFrames()([(answer(n), "c1") for n in range(5)])
    assert numbers(frame) == [0, 1, 2, 3, 4]
    assert frame.subject == "t.mailbox.result.look.r0"


def test_one_alone_and_what_answers_a_coordinator_that_takes_no_frames_stay_as_they_are() -> None:
    first, second, third = answer(1), answer(2), answer(3)
    assert MailFrames()([(first, ""), (second, "c1"), (third, "")]) == [first, third, second]


def test_coordinators_tools_and_kinds_are_kept_apart() -> None:
    mail = [
        (answer(1), "c1"),
        (answer(2), "c2"),
        (answer(3, name="pay"), "c1"),
        (answer(4, kind="advance"), "c1"),
        (answer(5), "c1"),
        (answer(6), "c2"),
    ]
    found = {message.subject: message for message in MailFrames()(mail)}
    assert {subject.rsplit(".", 3)[1:][0] for subject in found} == {"result", "advance"}
    assert numbers(found["t.mailbox.result.look.r1"]) == [1, 5]
    assert numbers(found["t.mailbox.result.look.r2"]) == [2, 6]
    assert found["t.mailbox.result.pay.r3"] == answer(3, name="pay")
    assert found["t.mailbox.advance.look.r4"] == answer(4, kind="advance")


def test_a_frame_is_bounded_in_number_and_size() -> None:
    assert [len(numbers(frame)) for frame in MailFrames()([(answer(n), "c1") for n in range(2 * MOST)])] == [MOST, MOST]
    large = MailFrames()([(answer(n, size=MOST_BYTES // 3), "c1") for n in range(5)])
    assert [numbers(frame) for frame in large[:2]] == [[0, 1], [2, 3]]
    assert large[2] == answer(4, size=MOST_BYTES // 3)


def test_no_two_frames_have_the_same_id_whatever_they_hold() -> None:
    """Under an id that was stored before, what shares the new frame would be swallowed as a repeat."""
    frames, other = MailFrames(), MailFrames()
    mail = [(answer(n), "c1") for n in range(2)]
    ids = [made.msg_id for framing in (frames, frames, other) for made in framing(mail)]
    assert len(set(ids)) == 3
    assert not set(ids) & {"m0", "m1"}
