"""What models write, on its way to whoever watches: pieces are collected for a moment, then sent by core NATS, and forgotten.

A run never waits for its readers: a message is handed to the connection, which drops it when it cannot be sent. Pieces of one call that
arrive within `flush_seconds` travel in one message; of a reader's slowness nothing is known here.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Protocol

import structlog
from msgspec.structs import replace

from waypost_proto.codec import encode
from waypost_proto.errors import WaypostError
from waypost_proto.ids import CallId, RunId
from waypost_proto.streams import AnyStreamed, Piece, StreamEnded, StreamPieces, StreamStarted, TextPiece, ToolPiece
from waypost_proto.subjects import Subjects
from waypost_proto.values import Failure, Token

FLUSH_SECONDS = 0.02
"""Shorter than people notice, long enough for several tokens of a fast model."""
MAX_PIECES_BYTES = 128 * 1024
"""Of one message, before JSON escapes it: what is more goes in the next."""
_MAX_ERROR_CHARS = 500
_log = structlog.get_logger(__name__)


class Sends(Protocol):
    """The part of the bus that is used here."""

    @property
    def connected(self) -> bool: ...
    def send(self, subject: str, body: bytes) -> None: ...


class TokenStreams:
    """Opens the streams of one worker's calls."""

    def __init__(self, bus: Sends, subjects: Subjects, worker: str, *, flush_seconds: float = FLUSH_SECONDS) -> None:
        self._bus = bus
        self._subjects = subjects
        self.worker = worker
        self.flush_seconds = flush_seconds

    def opener(self, run_id: RunId, call_id: CallId, agent: str, token: Callable[[], Token]) -> Callable[[], CallStream]:
        """For one step: opens its stream when it has something to show. `token` is that of the activation in hand."""

        def opened() -> CallStream:
            started = StreamStarted(run_id=run_id, call_id=call_id, attempt="", token=token(), agent=agent, worker=self.worker)
            return CallStream(started, self)

        return opened

    def send(self, run_id: RunId, agent: str, message: AnyStreamed) -> None:
        """Never waits, never raises: what cannot be sent now is of no use later."""
        if not self._bus.connected:
            return
        try:
            self._bus.send(self._subjects.tokens(run_id), encode(message))
        except (WaypostError, UnicodeEncodeError) as error:
            _log.debug("pieces of a model's answer were not shown", run_id=run_id, agent=agent, error=str(error))


class CallStream:
    """The stream of one call (`waypost.step_scope.Shown`): a request after another, each an attempt of its own."""

    def __init__(self, started: StreamStarted, streams: TokenStreams) -> None:
        self._started = started
        self._streams = streams
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._attempt = ""
        self._seq = 0
        self._waiting: list[Piece] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, model: str, provider: str) -> None:
        """A new attempt: what was shown of this call before is void."""
        self._drop()
        self._number += 1
        self._seq = 0
        self._attempt = os.urandom(6).hex()
        message = replace(
            self._started, attempt=self._attempt, number=self._number, model=model, provider=provider, at=round(time.time(), 3)
        )
        self._streams.send(self._started.run_id, self._started.agent, message)

    def piece(self, piece: Piece) -> None:
        """Collect it; the first of a batch sets the timer."""
        if not self._attempt:
            return
        last = self._waiting[-1] if self._waiting else None
        if isinstance(piece, TextPiece) and isinstance(last, TextPiece):
            self._waiting[-1] = TextPiece(text=last.text + piece.text)
        elif isinstance(piece, ToolPiece) and isinstance(last, ToolPiece) and last.index == piece.index and not piece.name:
            self._waiting[-1] = replace(last, arguments=last.arguments + piece.arguments)
        else:
            self._waiting.append(piece)
        self._size += len(piece.text) if isinstance(piece, TextPiece) else len(piece.arguments)
        if self._size >= MAX_PIECES_BYTES // 4:  # a character is at most four bytes
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._streams.flush_seconds, self._flush)

    def end(self, error: Failure | None = None) -> None:
        """Send what waits, and that nothing more comes of this attempt. Idempotent."""
        if not self._attempt:
            return
        self._flush()
        self._seq += 1
        told = None if error is None else shortened(error)
        run_id, call_id = self._started.run_id, self._started.call_id
        self._streams.send(
            run_id, self._started.agent, StreamEnded(run_id=run_id, call_id=call_id, attempt=self._attempt, seq=self._seq, error=told)
        )
        self._attempt = ""

    def _flush(self) -> None:
        pieces = self._waiting
        self._drop()
        if not pieces:
            return
        run_id, call_id = self._started.run_id, self._started.call_id
        for part in _parts(pieces):
            self._seq += 1
            self._streams.send(
                run_id, self._started.agent, StreamPieces(run_id=run_id, call_id=call_id, attempt=self._attempt, seq=self._seq, pieces=part)
            )

    def _drop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._waiting = []
        self._size = 0


def shortened(error: Failure) -> Failure:
    """What those who watch are told of it."""
    return Failure(type=error.type, message=error.message[:_MAX_ERROR_CHARS])


def _parts(pieces: list[Piece]) -> list[list[Piece]]:
    """Messages that fit: a piece of a model that does not stream may be its whole answer."""
    most = MAX_PIECES_BYTES // 4
    parts: list[list[Piece]] = [[]]
    room = most
    for piece in pieces:
        text = piece.text if isinstance(piece, TextPiece) else piece.arguments
        for start in range(0, max(1, len(text)), most):
            chunk = text[start : start + most]
            if len(chunk) > room and parts[-1]:
                parts.append([])
                room = most
            parts[-1].append(_chunk(piece, chunk, first=start == 0))
            room -= len(chunk)
    return parts


def _chunk(piece: Piece, text: str, *, first: bool) -> Piece:
    if isinstance(piece, TextPiece):
        return TextPiece(text=text)
    return ToolPiece(index=piece.index, name=piece.name if first else "", arguments=text)


__all__ = ["FLUSH_SECONDS", "MAX_PIECES_BYTES", "CallStream", "TokenStreams", "shortened"]
