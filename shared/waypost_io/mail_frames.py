"""Answers of one turn to one coordinator, in as few messages as they fit into (DESIGN.md, levers for speed).

A stored message costs the server and the coordinator more than what is in it (ADR 0193). Only what could have come on the same subject, but
for its run, shares one: advances of one agent's runs, or results of one tool. Then whoever may send one of them may send them all, and
permissions need not look inside.

A frame is sent once, under an id of its own; when it is not confirmed, what was in it is published one by one, each under the id that it
has alone. So an id never stands for a frame with other company, and what is stored twice is told apart by the state of its run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from waypost_io.bus.ports import Outbound

MOST = 64
"""Messages in a frame: it is acknowledged when the last of them is done with, and comes again as a whole."""
MOST_BYTES = 128 * 1024
"""Of bodies in a frame. Larger messages travel alone."""
_HEAD, _TAIL = b'{"type":"frame","mail":[', b"]}"


class MailFrames:
    """Joins mail: a `waypost_io.bus.company.Join`."""

    def __init__(self) -> None:
        self._name = os.urandom(6).hex()
        self._made = 0

    def __call__(self, mail: Sequence[tuple[Outbound, str]]) -> list[Outbound]:
        """The same mail; each message comes with the coordinator that it answers, "" if that takes no frames. Whatever is for one
        coordinator, and of one agent or tool, keeps its order."""
        out: list[Outbound] = []
        waiting: dict[tuple[str, str], list[Outbound]] = {}
        sizes: dict[tuple[str, str], int] = {}
        for message, sender in mail:
            if not sender:
                out.append(message)
                continue
            place, size = (message.subject.rpartition(".")[0], sender), len(message.body)
            together = waiting.get(place)
            if together is None or len(together) == MOST or sizes[place] + size > MOST_BYTES:
                if together is not None:
                    out.append(self._joined(together))
                waiting[place], sizes[place] = [message], size
            else:
                together.append(message)
                sizes[place] += size
        out.extend(map(self._joined, waiting.values()))
        return out

    def _joined(self, together: Sequence[Outbound]) -> Outbound:
        first = together[0]
        if len(together) == 1:
            return first
        self._made += 1
        body = b"%b%b%b" % (_HEAD, b",".join([each.body for each in together]), _TAIL)
        return Outbound(first.subject, body, f"frame.{self._name}.{self._made}")
