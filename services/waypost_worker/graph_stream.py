"""What a run's graph shows, on its way to whoever watches: collected for a moment, then sent by core NATS, and forgotten.

Like what models write (`token_stream`): the run never waits for its readers, and what cannot be sent now is lost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping

from msgspec import UNSET

from waypost_proto.ids import RunId
from waypost_proto.streams import GraphEnded, GraphPart, GraphParts, GraphStarted
from waypost_proto.values import Failure, Token
from waypost_worker.token_stream import MAX_PIECES_BYTES, TokenStreams, shortened

_PART_BYTES = 256
"""Of a part beside its data, roughly."""


class GraphStream:
    """The stream of one run's graph (`waypost.execution.GraphShown`). `token` is that of the activation in hand."""

    def __init__(self, streams: TokenStreams, run_id: RunId, agent: str, token: Callable[[], Token]) -> None:
        self._streams = streams
        self._run_id = run_id
        self._agent = agent
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._attempt = ""
        self._seq = 0
        self._waiting: list[GraphPart] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, checkpoints: Mapping[str, str]) -> None:
        """A new attempt."""
        self._drop()
        self._seq = 0
        self._attempt = os.urandom(6).hex()
        started = GraphStarted(
            run_id=self._run_id,
            attempt=self._attempt,
            token=self._token(),
            checkpoints=dict(checkpoints),
            agent=self._agent,
            worker=self._streams.worker,
            at=round(time.time(), 3),
        )
        self._streams.send(self._run_id, self._agent, started)

    def part(self, part: GraphPart) -> None:
        """Collect it; the first of a batch sets the timer. A part fits into a message of its own."""
        if not self._attempt:
            return
        size = _PART_BYTES + len(part.omitted) + sum(map(len, part.namespace)) + (0 if part.data is UNSET else len(part.data))
        if self._size and self._size + size > MAX_PIECES_BYTES:
            self._flush()
        self._waiting.append(part)
        self._size += size
        if self._timer is None:
            self._timer = self._loop.call_later(self._streams.flush_seconds, self._flush)

    def end(self, error: Failure | None = None) -> None:
        """Send what waits, and that nothing more comes of this attempt. Idempotent."""
        if not self._attempt:
            return
        self._flush()
        self._seq += 1
        ended = GraphEnded(run_id=self._run_id, attempt=self._attempt, seq=self._seq, error=None if error is None else shortened(error))
        self._streams.send(self._run_id, self._agent, ended)
        self._attempt = ""

    def _flush(self) -> None:
        parts = self._waiting
        self._drop()
        if parts:
            self._seq += 1
            message = GraphParts(run_id=self._run_id, attempt=self._attempt, seq=self._seq, parts=parts)
            self._streams.send(self._run_id, self._agent, message)

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = []
        self._size = 0


__all__ = ["GraphStream"]
