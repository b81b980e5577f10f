"""Record what a model answers, and play it again in tests, without the provider: a cassette, one JSON line for each request.

    model = Cassette("tests/cassettes/triage.jsonl", OpenAIModel("gpt-5.4-mini"))

`mode="auto"` plays what is recorded and asks for what is not; `replay` (the default where `CI` is set) never asks; `record` asks again
and writes the file anew. A request is found by the digest of its JSON after redaction, so a prompt that changed is a new request; the same
request again gets the answers in the order in which they were recorded, and then the last of them.

What is recorded is our own protocol, not HTTP: a cassette survives a new version of an SDK, and serves another provider.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from waypost.models.messages import AssistantMessage, Delta, Message, ModelRequest, ModelResponse, TextDelta, ToolUseDelta
from waypost.models.options import options_of
from waypost.models.protocol import Model, ModelBusy, ModelCut, ModelRefused, ModelTimeout
from waypost.models.records import digest_of
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadMessage, Misconfigured

Mode = Literal["auto", "replay", "record"]
_BUSY: dict[str, type[ModelBusy]] = {kind.__name__: kind for kind in (ModelBusy, ModelCut, ModelTimeout)}
_EXCERPT_CHARS = 120


class RecordedError(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error that is raised again."""

    type: str
    message: str
    retry_after: float | None = None


class Take(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a cassette: what was asked, and what came. `v` is the version of this form."""

    v: int = 1
    digest: str
    request: ModelRequest
    response: ModelResponse | None = None
    error: RecordedError | None = None


class Cassette:
    """A model (see the module). `redact` gets each text of requests and answers and returns what may be written to the file; the run gets
    the answer as it was while recording, and as it is in the file when it is played. Raises `Misconfigured` for a file that cannot be read.
    """

    def __init__(
        self,
        path: str | Path,
        model: Model | None = None,
        *,
        mode: Mode | None = None,
        redact: Callable[[str], str] | None = None,
        name: str = "recorded",
    ) -> None:
        """`model` may be left out where nothing is recorded; `name` is what it is called then."""
        self.path = Path(path)
        self.mode: Mode = mode or ("replay" if model is None or os.environ.get("CI") else "auto")
        if model is None and self.mode != "replay":
            raise Misconfigured(f"Cassette({str(path)!r}, mode={self.mode!r}) needs a model to record")
        self.name = model.name if model is not None else name
        self.provider = model.provider if model is not None else "recorded"
        self.options = options_of(model)
        self._model = model
        self._redact = redact
        self._lock = threading.Lock()
        self._takes: dict[str, list[Take]] = {}
        self._played: dict[str, int] = {}
        if self.mode == "record":
            self.path.unlink(missing_ok=True)
        else:
            self._read()

    async def generate(self, request: ModelRequest, on_delta: Callable[[Delta], None] | None = None) -> ModelResponse:
        """The recorded answer, in one piece, or the model's. Raises what was recorded, and `ModelRefused` when only playing what is not."""
        redacted = self._redacted(request)
        digest = digest_of(redacted)
        take = self._next(digest)
        if take is not None:
            return _played(take, on_delta)
        if self._model is None or self.mode == "replay":
            raise ModelRefused(f"{self.path} has no answer to this request; {self._nearest(redacted)}. Record it with mode='auto'")
        try:
            response = await self._model.generate(request, on_delta)
        except (ModelBusy, ModelRefused) as error:
            after = error.retry_after if isinstance(error, ModelBusy) else None
            told = RecordedError(type=type(error).__name__, message=self._text(str(error)), retry_after=after)
            self._write(Take(digest=digest, request=redacted, error=told))
            raise
        message = _changed(response.message, self._text)
        self._write(Take(digest=digest, request=redacted, response=replace(response, message=cast("AssistantMessage", message))))
        return response

    def _next(self, digest: str) -> Take | None:
        """The next take of a request; while recording each is asked anew, and so it is where `auto` has played all it had."""
        takes = self._takes.get(digest, [])
        if self.mode == "record" or not takes:
            return None
        number = self._played.get(digest, 0)
        self._played[digest] = number + 1
        return takes[min(number, len(takes) - 1)]

    def _read(self) -> None:
        if not self.path.exists():
            if self.mode == "replay":
                raise Misconfigured(f"{self.path}: there is no such cassette; record it with mode='auto' and a model")
            return
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            if line.strip():
                try:
                    take = decode(Take, line)
                except BadMessage as error:
                    raise Misconfigured(f"{self.path}, line {number}: {error}") from error
                self._takes.setdefault(take.digest, []).append(take)

    def _write(self, take: Take) -> None:
        """Appended at once, so that a test that fails later has recorded all the same."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(encode(take) + b"\n")
        if self.mode == "auto":
            self._takes.setdefault(take.digest, []).append(take)
            self._played[take.digest] = self._played.get(take.digest, 0) + 1

    # -- redaction

    def _text(self, text: str) -> str:
        return text if self._redact is None else self._redact(text)

    def _redacted(self, request: ModelRequest) -> ModelRequest:
        if self._redact is None:
            return request
        messages = tuple(_changed(message, self._text) for message in request.messages)
        return replace(request, messages=messages, instructions=self._text(request.instructions))

    def _nearest(self, request: ModelRequest) -> str:
        """What differs from the recorded request that begins most like this one."""
        recorded = [takes[0].request for takes in self._takes.values()]
        if not recorded:
            return "it is empty"
        return min((_difference(other, request) for other in recorded), key=lambda found: -found[0])[1]


def _played(take: Take, on_delta: Callable[[Delta], None] | None) -> ModelResponse:
    if take.error is not None:
        busy = _BUSY.get(take.error.type)
        if busy is None:
            raise ModelRefused(take.error.message)
        raise busy(take.error.message, retry_after=take.error.retry_after)
    assert take.response is not None
    message = take.response.message
    if on_delta is not None:
        if message.text:
            on_delta(TextDelta(text=message.text))
        for index, use in enumerate(message.tool_uses):
            on_delta(ToolUseDelta(index=index, name=use.name, arguments=use.arguments))
    return take.response


def _changed(message: Message, change: Callable[[str], str]) -> Message:
    """The message with every text changed; what is opaque may hold anything, and is left out."""
    if not isinstance(message, AssistantMessage):
        return replace(message, text=change(message.text))
    uses = tuple(replace(use, arguments=change(use.arguments)) for use in message.tool_uses)
    return replace(message, text=change(message.text), tool_uses=uses)


def _difference(recorded: ModelRequest, asked: ModelRequest) -> tuple[int, str]:
    """How much is alike, and the first thing that is not."""
    for number, (one, other) in enumerate(zip(recorded.messages, asked.messages, strict=False)):
        if one != other:
            return number, f"the nearest has messages[{number}] {_shown(one)} and not {_shown(other)}"
    alike = min(len(recorded.messages), len(asked.messages))
    if len(recorded.messages) != len(asked.messages):
        return alike, f"the nearest has {len(recorded.messages)} messages and not {len(asked.messages)}"
    fields = [name for name in ModelRequest.__struct_fields__ if getattr(recorded, name) != getattr(asked, name)]
    return alike, f"the nearest differs in {', '.join(fields)}"


def _shown(message: Message) -> str:
    text = msgspec.json.encode(message).decode()
    return text if len(text) <= _EXCERPT_CHARS else text[:_EXCERPT_CHARS] + "…"


__all__ = ["Cassette", "RecordedError", "Take"]
