"""One delivered message with several activations, taken apart: each part is a delivery of its own to the run that it is for.

The message is acknowledged when every part is, given back when one is, and kept in progress while any is worked on. Delivered again, it
brings all of its parts; those that were answered are answered once more, harmlessly.
"""

from __future__ import annotations

from collections.abc import Sequence

from waypost_io.bus.ports import Delivery, Headers
from waypost_proto.codec import decode
from waypost_proto.work import ActivationFrame

_FRAME = b'{"activations":'
"""How the JSON of a frame begins, and of an activation never: it has no such member."""


def parts_of(delivery: Delivery) -> Sequence[Delivery]:
    """The activations of a message: itself where it carries one. Raises `BadMessage`."""
    if not delivery.body.startswith(_FRAME):
        return (delivery,)
    bodies = decode(ActivationFrame, delivery.body).activations
    whole = _Whole(delivery, len(bodies))
    return [Part(whole, bytes(body)) for body in bodies]


class _Whole:
    """The message, and how many of its parts are not done with."""

    __slots__ = ("delivery", "left")

    def __init__(self, delivery: Delivery, left: int) -> None:
        self.delivery = delivery
        self.left = left


class Part:
    """`Delivery` of one activation in a frame."""

    __slots__ = ("_done", "_whole", "body")

    def __init__(self, whole: _Whole, body: bytes) -> None:
        self._whole = whole
        self._done = False
        self.body = body

    @property
    def subject(self) -> str:
        return self._whole.delivery.subject

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
