"""The pieces of a LangChain model's answer on `waypost.stream.<run_id>`, while they come. Owns no connection."""

from __future__ import annotations

import asyncio
import time

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from waypost.execution.effects import failure_of
from waypost.step_scope import Shown as Stream
from waypost.step_scope import StepScope
from waypost_proto.streams import TextPiece, ToolPiece
from waypost_proto.values import Failure


class Shown:
    """One request as people may watch it. A worker that asks again after a crash opens a stream of its own, which voids this one's."""

    def __init__(self, scope: StepScope | None, model: str, provider: str) -> None:
        self.first_token_seconds: float | None = None
        self._began = time.monotonic()
        self._model = model
        self._provider = provider
        self._open = scope.show if scope is not None else None
        self._stream: Stream | None = None

    def chunk(self, chunk: ChatGenerationChunk) -> None:
        """The next piece. The first opens the stream."""
        if self.first_token_seconds is None:
            self.first_token_seconds = time.monotonic() - self._began
            if self._open is not None:
                self._stream = self._open()
                self._stream.begin(self._model, self._provider)
        if self._stream is None:
            return
        message = chunk.message
        text = message.text
        if text:
            self._stream.piece(TextPiece(text=str(text)))
        for call in message.tool_call_chunks if isinstance(message, AIMessageChunk) else ():
            index = max(0, call.get("index") or 0)
            self._stream.piece(ToolPiece(index=index, name=call.get("name") or "", arguments=call.get("args") or ""))

    def end(self, error: BaseException | None = None) -> None:
        """No more pieces come."""
        if self._stream is None:
            return
        if error is None:
            self._stream.end()
        else:
            gone = isinstance(error, asyncio.CancelledError)
            self._stream.end(Failure(type="Cancelled", message="the call was given up") if gone else failure_of(error))


__all__ = ["Shown"]
