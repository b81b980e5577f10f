"""A real OTLP receiver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Self

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from oteltap import OtelTapHttpProtobufReceiver, OtelTapHttpProtobufReceiverSettings

from waypost_io.servers import free_port


class Tap:
    """An OTLP receiver on `port`; `spans` in the order in which they came. May be closed and opened again on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.spans: list[Span] = []
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> Self:
        receiver = OtelTapHttpProtobufReceiver(OtelTapHttpProtobufReceiverSettings(http_port=self.port))
        await self._stack.enter_async_context(receiver)
        reading = asyncio.create_task(self._read(receiver.stream_traces()))
        self._stack.callback(reading.cancel)
        return self

    async def close(self) -> None:
        await self._stack.aclose()

    async def _read(self, stream: AsyncIterator[Span]) -> None:
        async for span in stream:
            self.spans.append(span)

    def of(self, run_id: str) -> list[Span]:
        """The spans of one run, each once: what a backend keeps."""
        trace_id = bytes.fromhex(run_id.replace("-", ""))
        return list({span.span_id: span for span in self.spans if span.trace_id == trace_id}.values())

    def named(self, run_id: str) -> list[str]:
        """Names of a run's spans, sorted."""
        return sorted(span.name for span in self.of(run_id))


@pytest.fixture(scope="module")
async def tap() -> AsyncIterator[Tap]:
    tap = await Tap().open()
    yield tap
    await tap.close()


@pytest.fixture
def attributes() -> Callable[[Span], dict[str, object]]:
    """The attributes of a span as a dictionary."""

    def read(span: Span) -> dict[str, object]:
        return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in span.attributes}

    return read
