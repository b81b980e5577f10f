"""One delivered message with several activations, taken apart: each part is a delivery of its own to the run that it is for."""

from __future__ import annotations

from collections.abc import Sequence

from waypost_io.bus.parts import Part, Whole
from waypost_io.bus.ports import Delivery
from waypost_proto.codec import decode
from waypost_proto.work import ActivationFrame

_FRAME = b'{"activations":'
"""How the JSON of a frame begins, and of an activation never: it has no such member."""


def parts_of(delivery: Delivery) -> Sequence[Delivery]:
    """The activations of a message: itself where it carries one. Raises `BadMessage`."""
    if not delivery.body.startswith(_FRAME):
        return (delivery,)
    bodies = decode(ActivationFrame, delivery.body).activations
    whole = Whole(delivery, len(bodies))
    return [Part(whole, number, body, delivery.subject) for number, body in enumerate(bodies)]
