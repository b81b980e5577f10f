"""Old copies of the broker's disk. Owns nothing: a copy is taken of a broker, and put back into it later.

As with a real server, a restored stream has its old identity and its old last sequence, which new messages use again; its consumers are
those of that time, and deliver again what had not been acked then. Duplicates are known of the messages that are there.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Collection
from dataclasses import dataclass

from waypost_io.bus._memory_store import MemoryConsumer, MemoryStream, Stored
from waypost_io.bus.memory import MemoryBroker
from waypost_io.bus.ports import ConsumerSpec, StreamSpec


@dataclass(frozen=True, slots=True)
class _ConsumerCopy:
    spec: ConsumerSpec
    created: str
    again: list[int]
    fresh: list[int]
    counts: dict[int, int]


@dataclass(frozen=True, slots=True)
class _StreamCopy:
    spec: StreamSpec
    created: str
    last_seq: int
    messages: dict[int, Stored]
    ids: dict[str, tuple[int, float]]
    consumers: list[_ConsumerCopy]


Copy = dict[str, _StreamCopy]


def copy_of(broker: MemoryBroker) -> Copy:
    """What is on the disk now."""
    return {name: _copied(stream) for name, stream in broker.streams.items()}


def restore(broker: MemoryBroker, copy: Copy, names: Collection[str]) -> None:
    """Put these streams back as they were; one that was not there then is gone."""
    for name in names:
        stream = broker.streams.pop(name, None)
        if stream is not None:
            stream.end()
        if name in copy:
            broker.streams[name] = _restored(copy[name], broker)


def _copied(stream: MemoryStream) -> _StreamCopy:
    consumers = [
        _ConsumerCopy(each.spec, each.created, sorted([*each._out, *each._again]), list(each._fresh), dict(each._counts))
        for each in stream.consumers.values()
    ]
    kept = {msg_id: known for msg_id, known in stream._ids.items() if known[0] in stream.messages}
    return _StreamCopy(stream.spec, stream.created, stream._last_seq, dict(stream.messages), kept, consumers)


def _restored(copy: _StreamCopy, broker: MemoryBroker) -> MemoryStream:
    stream = MemoryStream(copy.spec, copy.created, broker.time)
    stream.messages.update(copy.messages)
    stream._last_seq = copy.last_seq
    stream._bytes = sum(message.size for message in copy.messages.values())
    stream._ids.update(copy.ids)
    stream._mortal = [(message.expires_at, seq) for seq, message in copy.messages.items() if message.expires_at < math.inf]
    heapq.heapify(stream._mortal)
    for each in copy.consumers:
        consumer = stream.consumers[each.spec.name] = MemoryConsumer(stream, each.spec, each.created, broker.time)
        consumer._again.extend(each.again)
        consumer._fresh.extend(each.fresh)
        consumer._counts.update(each.counts)
    return stream
