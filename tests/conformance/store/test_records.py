"""Keys, definitions, streams, blobs, dead letters."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.conformance.store.conftest import World
from tests.conformance.store.rows import new_run_id
from waypost_io.store import Store
from waypost_proto.errors import BadInput, BadMessage, NotFound, TooLarge
from waypost_proto.ids import digest_of
from waypost_proto.limits import BLOB_CHUNK_BYTES, MAX_PAYLOAD_BYTES
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.values import Effect

# -- keys


async def test_the_first_reservation_of_a_key_stays(store: Store) -> None:
    first, second = new_run_id(), new_run_id()
    key = ("default", "compliance", "k")
    assert await store.keys.reserve([(*key, first, "d1")]) == {key: (first, "d1")}
    assert await store.keys.reserve([(*key, second, "d2")]) == {key: (first, "d1")}
    others = [("other", "compliance", "k"), ("default", "other", "k"), ("default", "compliance", "K")]
    assert await store.keys.reserve([(*other, second, "d2") for other in [*others, key]]) == {
        key: (first, "d1"),
        **dict.fromkeys(others, (second, "d2")),
    }
    assert await store.keys.reserve([]) == {}


async def test_a_key_twice_in_one_batch_is_reserved_once(store: Store) -> None:
    first, second = new_run_id(), new_run_id()
    found = await store.keys.reserve([("t", "a", "k", first, "d1"), ("t", "a", "k", second, "d2")])
    assert found == {("t", "a", "k"): (first, "d1")}


async def test_unsorted_batches_of_keys_do_not_deadlock_and_agree(world: World) -> None:
    stores = [await world.store() for _ in range(4)]
    draw = random.Random(7)
    for round_number in range(5):
        keys = [("t", "a", f"{round_number}-{n}") for n in range(100)]

        async def reserve(store: Store, keys: list[tuple[str, str, str]]) -> dict[tuple[str, str, str], tuple[str, str]]:
            shuffled = draw.sample(keys, len(keys))
            return dict(await store.keys.reserve([(*key, new_run_id(), "d") for key in shuffled]))

        async with asyncio.timeout(30):
            answers = await asyncio.gather(*(reserve(store, keys) for store in stores))
        assert all(answer == answers[0] for answer in answers)
        assert answers[0].keys() == set(keys)


async def test_a_key_that_cannot_be_stored_is_refused(store: Store) -> None:
    with pytest.raises(BadMessage):
        await store.keys.reserve([("t", "a", "k\0", new_run_id(), "d")])


# -- definitions


async def test_the_last_put_build_of_an_agent_is_current(store: Store) -> None:
    def agent(name: str, build: str, version: str = "1") -> AgentDefinition:
        return AgentDefinition(name=name, build=build, version=version)

    await store.definitions.put([agent("b", "1"), agent("a", "2")], [])
    await store.definitions.put([agent("a", "1")], [])
    assert await store.definitions.agents() == [agent("a", "2"), agent("a", "1"), agent("b", "1")]
    await store.definitions.put([agent("a", "2", version="9")], [])
    assert await store.definitions.agents() == [agent("a", "1"), agent("a", "2", version="9"), agent("b", "1")]


async def test_a_tool_is_replaced_by_name(store: Store) -> None:
    old = ToolDefinition(name="lookup", effect=Effect.READ, build="1")
    new = ToolDefinition(name="lookup", effect=Effect.UNSAFE, build="2")
    other = ToolDefinition(name="file", effect=Effect.IDEMPOTENT)
    await store.definitions.put([], [old, other])
    await store.definitions.put([], [new])
    await store.definitions.put([], [])
    assert await store.definitions.tools() == [other, new]
    assert await store.definitions.agents() == []


# -- streams


async def test_stream_marks_are_replaced(store: Store) -> None:
    assert await store.streams.load() == {}
    await store.streams.save({"TASKS": ("2026-01-01", 5), "WORK": ("2026-01-02", 1 << 60)})
    await store.streams.save({"TASKS": ("2026-02-01", 1)})
    await store.streams.save({})
    assert await store.streams.load() == {"TASKS": ("2026-02-01", 1), "WORK": ("2026-01-02", 1 << 60)}


# -- blobs


@pytest.mark.parametrize("size", [0, 1, BLOB_CHUNK_BYTES, BLOB_CHUNK_BYTES + 1, 3 * BLOB_CHUNK_BYTES])
async def test_a_blob_comes_back_whole_and_in_chunks(store: Store, size: int) -> None:
    data = random.Random(size).randbytes(size)
    sha256 = await store.blobs.put(data)
    assert sha256 == digest_of(data) == await store.blobs.put(data)
    assert await store.blobs.get(sha256) == data
    first, chunks = await store.blobs.get_chunk(sha256, 0)
    rest = [(await store.blobs.get_chunk(sha256, index))[0] for index in range(1, chunks)]
    assert b"".join([first, *rest]) == data
    assert chunks == max(1, -(-size // BLOB_CHUNK_BYTES))
    with pytest.raises(NotFound):
        await store.blobs.get_chunk(sha256, chunks)


async def test_an_upload_is_whole_once_every_chunk_is_there(store: Store) -> None:
    data = random.Random(1).randbytes(2 * BLOB_CHUNK_BYTES + 5)
    sha256 = digest_of(data)
    parts = [data[i : i + BLOB_CHUNK_BYTES] for i in range(0, len(data), BLOB_CHUNK_BYTES)]
    for index in (2, 0, 0):
        await store.blobs.put_chunk(sha256, index, 3, parts[index])
    with pytest.raises(NotFound, match="incomplete"):
        await store.blobs.get(sha256)
    await store.blobs.put_chunk(sha256, 1, 3, parts[1])
    assert await store.blobs.get(sha256) == data


async def test_an_upload_cannot_change_a_value_and_putting_mends_a_broken_upload(store: Store) -> None:
    data = random.Random(2).randbytes(BLOB_CHUNK_BYTES + 1)
    sha256 = digest_of(data)
    await store.blobs.put_chunk(sha256, 0, 2, bytes(BLOB_CHUNK_BYTES))
    await store.blobs.put_chunk(sha256, 1, 2, data[-1:])
    with pytest.raises(NotFound, match="damaged"):
        await store.blobs.get(sha256)
    await store.blobs.put(data)
    await store.blobs.put_chunk(sha256, 0, 2, bytes(BLOB_CHUNK_BYTES))
    assert await store.blobs.get(sha256) == data


@pytest.mark.parametrize(
    ("index", "chunks", "size"), [(-1, 2, 1), (2, 2, 1), (0, 0, 1), (0, 10**6, BLOB_CHUNK_BYTES), (0, 2, 1), (0, 1, 5)]
)
async def test_impossible_chunks_are_refused(store: Store, index: int, chunks: int, size: int) -> None:
    with pytest.raises(BadInput):
        await store.blobs.put_chunk("0" * 64, index, chunks, bytes(size))


async def test_blobs_have_a_limit(store: Store) -> None:
    with pytest.raises(TooLarge):
        await store.blobs.put(bytes(MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(TooLarge):
        await store.blobs.put_chunk("0" * 64, 0, 2, bytes(BLOB_CHUNK_BYTES + 1))
    with pytest.raises(NotFound):
        await store.blobs.get("0" * 64)


# -- dead letters


async def add(store: Store, source: str = "TASKS/1/7", **fields: object) -> int:
    given: dict[str, object] = {
        "origin": "task",
        "subject": "waypost.tasks.compliance",
        "reason": "not JSON",
        "body": b"\xff\x00{",
        "headers": {"Nats-Msg-Id": "1"},
        "source": source,
        "run_id": None,
    }
    return await store.dead.add(**(given | fields))  # type: ignore[arg-type]


async def test_a_dead_letter_is_kept_once_per_source(store: Store) -> None:
    first = await add(store)
    second = await add(store, source="TASKS/1/8", run_id="not a run id", body=b"x" * 1_000)
    assert await add(store, reason="another") == first
    views = await store.dead.list()
    assert [view.dead_id for view in views] == [first, second]
    assert [view.size for view in views] == [3, 1_000]
    assert views[0].reason == "not JSON"
    assert len(views[1].excerpt) < 1_000
    assert [view.dead_id for view in await store.dead.list(after=first, limit=5)] == [second]
    view, subject, body, headers = await store.dead.get(first)
    assert (view, subject, body, headers) == (views[0], "waypost.tasks.compliance", b"\xff\x00{", {"Nats-Msg-Id": "1"})
    await store.dead.remove(first)
    await store.dead.remove(first)
    with pytest.raises(NotFound):
        await store.dead.get(first)


async def test_a_dead_letter_takes_text_that_nothing_else_takes(store: Store) -> None:
    dead_id = await add(store, subject="a\0b", reason="c\ud800d ü", headers={"e\0": "f\udfff"}, run_id="g\0")
    view, subject, _, headers = await store.dead.get(dead_id)
    assert subject == "a\ufffdb"
    assert view.reason.startswith("c\ufffd")
    assert view.reason.endswith("d ü")
    assert list(headers) == ["e\ufffd"]
    assert view.run_id == "g\ufffd"


async def test_failures_are_counted_until_the_message_is_dead(world: World) -> None:
    one, two = await world.store(), await world.store()
    counts = await asyncio.gather(*(store.dead.count_failure("s") for store in (one, two) for _ in range(3)))
    assert sorted(counts) == [1, 2, 3, 4, 5, 6]
    assert await one.dead.count_failure("other\0") == 1
    await add(one, source="s")
    assert await one.dead.count_failure("s") == 1


async def test_upkeep_may_run_at_any_time(world: World) -> None:
    stores = [await world.store() for _ in range(3)]
    made = await asyncio.gather(*(store.maintenance.upkeep() for store in stores))
    assert made == [[], [], []]  # the migration has made them
