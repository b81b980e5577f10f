"""The messages that carry a run's work, as the messaging conventions have them: `send` by whom it leaves, `process` by whom it reaches.

The log says when a message was sent, at the commit that caused it, and when its answer was recorded; not how long the sending took. So a
`send` is a moment, and leaves together with the `process` that it is the parent of: what no one processed was no step of the run. The two
answers of a step, to the mailbox, are moments that the log has only as the end of what they answer, and get no spans (decision 0360).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from waypost_core.tracing.spans import Shape, Span

if TYPE_CHECKING:
    from waypost_core.tracing.run import RunTrace

_EVERY_BIT: Final = 0xFFFF_FFFF_FFFF_FFFF


def sent(trace: RunTrace, shape: Shape, processed: bytes, at_us: int, parent: bytes, out: list[Span]) -> bytes:
    """The coordinator sent a message at `at_us`: its span goes to `out`. The id of the span under which it is processed.

    Its own id is that of the span `processed` with every bit turned: derived from the same event and attempt, without another hash.
    """
    if not trace.capture.messages:
        return parent
    mine = (int.from_bytes(processed, "big") ^ _EVERY_BIT).to_bytes(8, "big")
    out.append(Span(trace.trace_id, mine, parent, shape, at_us, at_us))
    return mine
