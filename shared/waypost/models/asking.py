"""One request to one model: its turn, its time limits, its pieces and their size, and what is known of it when it ends badly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from waypost.execution.effects import failure_of
from waypost.models.estimating import input_tokens_of, tokens_of
from waypost.models.messages import Delta, ModelRequest, ModelResponse, TextDelta, TokenCounts, ToolUseDelta
from waypost.models.options import ModelOptions
from waypost.models.protocol import AnswerTooLarge, Model, ModelBusy, ModelRefused, ModelTimeout, Prepares
from waypost.models.records import CallRecord
from waypost.models.traffic import Lane, lane_of
from waypost.step_scope import Shown
from waypost_proto.codec import encode
from waypost_proto.streams import TextPiece, ToolPiece
from waypost_proto.values import Failure

_CANCELLED = Failure(type="Cancelled", message="nobody waits for the answer any more")


class Asking:
    """The requests of one call, one after another. `shown` gets their pieces."""

    def __init__(self, record: CallRecord, shown: Shown | None) -> None:
        self._record = record
        self._shown = shown

    async def once(self, model: Model, options: ModelOptions, request: ModelRequest) -> ModelResponse:
        """One request. Raises `ModelBusy` or `ModelRefused`; what the model raises besides goes through."""
        lane = lane_of(model, options)
        most = input_tokens_of(request) + (request.max_output_tokens or options.max_output_tokens) if options.token_rate else 0
        self._record.model = model
        async with lane.turn(most, options.max_wait_seconds):
            self._record.asked(model)
            if self._shown is not None:
                self._shown.begin(model.name, model.provider)
            pieces = _Pieces(options, self._shown)
            try:
                if isinstance(model, Prepares):
                    await model.prepare()
                response = await self._generate(model, options, request, pieces)
                _check_size(len(encode(response)), options)
            except BaseException as error:
                self._failed(model, request, pieces, error, lane)
                raise
            self._answered(model, request, response, pieces)
            return response

    async def _generate(self, model: Model, options: ModelOptions, request: ModelRequest, pieces: _Pieces) -> ModelResponse:
        try:
            async with asyncio.timeout(None) as limit:
                pieces.begin(limit)
                response = await model.generate(request, pieces.take if options.stream else None)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise ModelTimeout(pieces.told(), billed=True) from error
        self._record.first_piece_seconds = pieces.first_seconds
        return response

    def _answered(self, model: Model, request: ModelRequest, response: ModelResponse, pieces: _Pieces) -> None:
        usage = response.usage
        said = bool(usage.input_tokens or usage.output_tokens)
        self._record.used(model, usage if said else _guess(request, response), estimated=not said)
        if self._shown is not None:
            pieces.show_rest(response)
            self._shown.end()

    def _failed(self, model: Model, request: ModelRequest, pieces: _Pieces, error: BaseException, lane: Lane) -> None:
        """Count what it may have used, and tell who watches."""
        self._record.first_piece_seconds = pieces.first_seconds
        if isinstance(error, ModelBusy) and error.retry_after is not None:
            lane.hold(error.retry_after, str(error))
        told = error.usage if isinstance(error, ModelBusy) else None
        # what was cancelled, cut or too slow has been worked on; what was refused has not
        worked = isinstance(error, asyncio.CancelledError | AnswerTooLarge) or (isinstance(error, ModelBusy) and error.billed)
        if told is not None:
            self._record.used(model, told)
        elif worked or pieces.bytes:
            guess = TokenCounts(input_tokens=input_tokens_of(request), output_tokens=-(-pieces.bytes // 3))
            self._record.used(model, guess, estimated=True)
        self._record.failed(model, error, pieces.seconds)
        if self._shown is not None:
            self._shown.end(_CANCELLED if isinstance(error, asyncio.CancelledError) else failure_of(error))


class _Pieces:
    """The answer so far: counts it, bounds it, and moves the time limit."""

    def __init__(self, options: ModelOptions, shown: Shown | None) -> None:
        self._shown = shown
        self._max_bytes = options.max_answer_bytes
        self._piece_seconds = options.piece_seconds if options.stream else options.timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._seconds = options.timeout_seconds
        self._began = self._loop.time()
        self._ends = self._began + self._seconds
        self._limit: asyncio.Timeout | None = None
        self._moved = 0.0
        self._names: set[int] = set()
        self.bytes = 0
        self.count = 0
        self.first_seconds: float | None = None

    @property
    def seconds(self) -> float:
        return self._loop.time() - self._began

    def begin(self, limit: asyncio.Timeout) -> None:
        self._limit = limit
        self._began = self._loop.time()
        self._ends = self._began + self._seconds
        self._move(self._began)

    def take(self, delta: Delta) -> None:
        """The next piece. An empty one is a sign of life. Raises `AnswerTooLarge`."""
        now = self._loop.time()
        if now - self._moved > self._piece_seconds / 16:  # exact enough, and a timer less for each piece
            self._move(now)
        if isinstance(delta, TextDelta):
            size = len(delta.text.encode("utf-8", "replace"))
        else:
            size = len(delta.arguments.encode("utf-8", "replace")) + len(delta.name)
        if not size:
            return
        if self.first_seconds is None:
            self.first_seconds = round(now - self._began, 6)
        self.count += 1
        self.bytes += size
        if self.bytes > self._max_bytes:
            raise _too_large(self.bytes, self._max_bytes)
        if self._shown is not None:
            self._shown.piece(_piece(delta))

    def show_rest(self, response: ModelResponse) -> None:
        """A model that does not stream has its whole answer as one piece."""
        if self.count or self._shown is None:
            return
        if response.message.text:
            self._shown.piece(TextPiece(text=response.message.text))
        for index, use in enumerate(response.message.tool_uses):
            self._shown.piece(ToolPiece(index=index, name=use.name, arguments=use.arguments))

    def told(self) -> str:
        """What is known when the time is over."""
        if self._loop.time() >= self._ends:
            return f"no whole answer within {self._ends - self._began:g} s; {self.count} pieces ({self.bytes} bytes) had come"
        after = f"after {self.count} pieces ({self.bytes} bytes)" if self.count else "and nothing before"
        return f"nothing for {self._piece_seconds:g} s {after}"

    def _move(self, now: float) -> None:
        self._moved = now
        if self._limit is not None:
            self._limit.reschedule(min(self._ends, now + self._piece_seconds))


def _piece(delta: TextDelta | ToolUseDelta) -> TextPiece | ToolPiece:
    if isinstance(delta, TextDelta):
        return TextPiece(text=delta.text)
    return ToolPiece(index=delta.index, name=delta.name, arguments=delta.arguments)


def _guess(request: ModelRequest, response: ModelResponse) -> TokenCounts:
    """For a provider that does not count."""
    message = response.message
    written = tokens_of(message.text) + sum(tokens_of(use.name) + tokens_of(use.arguments) for use in message.tool_uses)
    return TokenCounts(input_tokens=input_tokens_of(request), output_tokens=written)


def _check_size(size: int, options: ModelOptions) -> None:
    if size > options.max_answer_bytes:
        raise _too_large(size, options.max_answer_bytes)


def _too_large(size: int, limit: int) -> ModelRefused:
    return AnswerTooLarge(f"the answer has {size} bytes or more, the limit is {limit} (ModelOptions.max_answer_bytes): it is not kept")


Take = Callable[[Delta], None]
__all__ = ["Asking"]
