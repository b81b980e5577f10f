"""LangGraph's own conformance suite on our saver, over a log that is written, read back and folded anew at every question."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

import pytest
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from waypost.langgraph.saver import LogSaver
from waypost.langgraph.thread import Thread
from waypost_core.checkpoints import saved
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode_union, encode


class Logs:
    """`Threads` over logs of event bytes. What is asked for is folded from the bytes, never taken from what was written."""

    def __init__(self) -> None:
        self.logs: dict[str, list[bytes]] = {}
        self.writing: dict[str, Thread] = {}

    def find(self, thread_id: str) -> Thread | None:
        log = self.logs.get(thread_id)
        return None if log is None else self._fold(log)

    def open(self, thread_id: str) -> Thread:
        self.logs.setdefault(thread_id, [])
        return self.writing.setdefault(thread_id, Thread(JsonPlusSerializer()))

    def names(self) -> Collection[str]:
        return list(self.logs)

    def put(self, thread_id: str, item: cmd.SaveCheckpoint | cmd.SaveWrites) -> None:
        self.writing[thread_id] = self.writing.get(thread_id) or self._fold(self.logs[thread_id])
        self.logs[thread_id].append(encode(saved(item)))

    async def stored(self, thread_id: str) -> None:
        return None

    def _fold(self, log: list[bytes]) -> Thread:
        thread = Thread(JsonPlusSerializer())
        for body in log:
            data = decode_union(ev.AnyData, body)
            assert isinstance(data, ev.CheckpointSaved | ev.WritesSaved)
            value = data.writes if isinstance(data, ev.WritesSaved) else data.state
            thread.fold(data, b"{}" if (value is None) or not value else bytes(value))
        return thread


@checkpointer_test(name="waypost")
async def waypost_saver() -> AsyncIterator[LogSaver]:
    yield LogSaver(Logs())


@pytest.mark.parametrize(
    "capability", ["put", "put_writes", "get_tuple", "list", "delete_thread", "delete_for_runs", "copy_thread", "prune"]
)
async def test_conformance(capability: str) -> None:
    report = await validate(waypost_saver, capabilities={capability})
    result = report.results[capability]
    assert result.detected
    assert result.passed, result.failures
    assert result.tests_passed > 0
