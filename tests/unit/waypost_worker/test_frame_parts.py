"""One message with several activations: each is a delivery of its own, and the message is done with when all of them are."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from waypost_io.bus.ports import Headers
from waypost_proto.errors import BadMessage
from waypost_worker.frame_parts import parts_of


@dataclass
class Message:
    """A delivery that notes what is said of it."""

    body: bytes
    subject: str = "t.work.clerk.b1.w1"
    stream_seq: int = 7
    timestamp: float = 12.5
    delivered: int = 3
    said: list[str] = field(default_factory=list)

    @property
    def headers(self) -> Headers:
        return {"traceparent": "00"}

    def ack(self) -> None:
        self.said.append("ack")

    def in_progress(self) -> None:
        self.said.append("in progress")

    def give_back(self) -> None:
        self.said.append("give back")


def test_a_message_with_one_activation_is_itself() -> None:
    message = Message(b'{"run_id":"r"}')
    assert parts_of(message) == (message,)


def test_each_part_has_its_body_and_the_rest_of_the_message() -> None:
    first, second = parts_of(Message(b'{"activations":[{"run_id":"a"},{"run_id":"b"}]}'))
    assert (first.body, second.body) == (b'{"run_id":"a"}', b'{"run_id":"b"}')
    assert (first.subject, first.stream_seq, first.timestamp, first.delivered, first.headers) == (
        "t.work.clerk.b1.w1",
        7,
        12.5,
        3,
        {"traceparent": "00"},
    )


def test_the_message_is_acknowledged_with_its_last_part_and_once() -> None:
    message = Message(b'{"activations":[1,2,3]}')
    first, second, third = parts_of(message)
    first.ack()
    first.ack()
    second.ack()
    assert message.said == []
    third.in_progress()
    third.ack()
    third.ack()
    third.in_progress()
    assert message.said == ["in progress", "ack"]


def test_one_part_that_is_given_back_gives_the_message_back() -> None:
    message = Message(b'{"activations":[1,2]}')
    first, second = parts_of(message)
    first.give_back()
    first.ack()
    second.ack()
    assert message.said == ["give back"]


@pytest.mark.parametrize("body", [b'{"activations":', b'{"activations":3}'])
def test_what_cannot_be_read_is_said_so(body: bytes) -> None:
    with pytest.raises(BadMessage):
        parts_of(Message(body))
