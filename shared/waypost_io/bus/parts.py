"""One delivered message that carries several: each part is a delivery of its own.

The message is acknowledged when every part is, given back when one is, and kept in progress while any is worked on. Delivered again, it
brings all of its parts; those that were done with are seen once more, harmlessly, as with any other repeat.
"""

from __future__ import annotations

from msgspec import Raw

from waypost_io.bus.ports import Delivery, Headers


class Whole:
    """The message, and how many of its parts are not done with."""

    __slots__ = ("delivery", "left")

    def __init__(self, delivery: Delivery, parts: int) -> None:
        self.delivery = delivery
        self.left = parts


class Part:
    """`Delivery` of one part. `number` counts from 0; `subject` is where it would have come on alone."""

    __slots__ = ("_body", "_done", "_whole", "number", "subject")

    def __init__(self, whole: Whole, number: int, body: Raw, subject: str) -> None:
        self._whole = whole
        self._body = body
        self._done = False
        self.number = number
        self.subject = subject

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    @property
    def headers(self) -> Headers:
        return self._whole.delivery.headers

    @property
    def stream_seq(self) -> int:
        return self._whole.delivery.stream_seq

    @property
    def timestamp(self) -> float:
        return self._whole.delivery.timestamp

    @property
    def delivered(self) -> int:
        return self._whole.delivery.delivered

    @property
    def consumer_since(self) -> float:
        return self._whole.delivery.consumer_since

    def ack(self) -> None:
        if not self._done:
            self._done = True
            self._whole.left -= 1
            if not self._whole.left:
                self._whole.delivery.ack()

    def in_progress(self) -> None:
        if not self._done:
            self._whole.delivery.in_progress()

    def give_back(self) -> None:
        if not self._done:
            self._done = True
            self._whole.delivery.give_back()
