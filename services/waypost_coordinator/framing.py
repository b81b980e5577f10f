"""Activations of one batch for one worker, in as few messages as they fit into (DESIGN.md, levers for speed).

A message in JetStream costs the server more than anything that is in it (ADR 0186). Only what goes to a worker's own subject shares one:
there nobody else could have taken a part of it, and what is lost with the worker is derived again run by run.

A frame's id is its first activation's with the number of them; sending it again after a failure keeps it. Derived again, an
activation is in another frame or alone: its worker tells by the token, as with any other repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from waypost_coordinator.batch import Outgoing

MOST = 64
"""Activations in a frame: it is acknowledged when the last of them is answered, and comes again as a whole."""
MOST_BYTES = 128 * 1024
"""Of bodies in a frame. Larger activations travel alone."""
_HEAD, _TAIL = b'{"activations":[', b"]}"


def framed(messages: Iterable[Outgoing]) -> list[Outgoing]:
    """The same activations, those that may share a message joined. The order of those of one subject is kept."""
    out: list[Outgoing] = []
    waiting: dict[str, list[Outgoing]] = {}
    sizes: dict[str, int] = {}
    for message in messages:
        if not message.framed:
            out.append(message)
            continue
        together, size = waiting.setdefault(message.subject, []), len(message.body)
        if together and (len(together) == MOST or sizes[message.subject] + size > MOST_BYTES):
            out.append(_joined(together))
            waiting[message.subject] = together = []
        sizes[message.subject] = size + (sizes[message.subject] if together else 0)
        together.append(message)
    out.extend(_joined(together) for together in waiting.values())
    return out


def _joined(together: Sequence[Outgoing]) -> Outgoing:
    first = together[0]
    if len(together) == 1:
        return first
    body = b"%b%b%b" % (_HEAD, b",".join([each.body for each in together]), _TAIL)
    return Outgoing(first.subject, body, f"{first.msg_id}.{len(together)}", None, b"", "work")
