"""Dead letters go back to where they came from; payloads travel in chunks."""

from __future__ import annotations

import pytest

from tests.unit.waypost_coordinator.api.conftest import Caller
from tests.unit.waypost_coordinator.api.rig import Desk
from waypost_coordinator.api.dead import SHOWN_BYTES, as_published
from waypost_io.bus.ports import ConsumerSpec, Delivery, StreamSpec
from waypost_io.payloads import Payloads, answer_of
from waypost_proto.api import CHUNKS_HEADER, INDEX_HEADER, SHA256_HEADER, DeadDetail, DeadList, DeadPage, DeadRef, DeadView, PayloadGet
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput, NotFound, TooLarge, WaypostError
from waypost_proto.ids import digest_of
from waypost_proto.limits import BLOB_CHUNK_BYTES
from waypost_proto.subjects import Subjects

RUN = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"


async def dead(desk: Desk, *, body: bytes = b"{bad", subject: str = "t.tasks.desk", source: str = "s:1") -> int:
    headers = {"Waypost-Note": "x", "Nats-Msg-Id": "once", "nats-expected-stream": "T_TASKS"}
    return await desk.store.dead.add(
        origin="tasks", subject=subject, reason="not JSON", body=body, headers=headers, source=source, run_id=None
    )


async def test_lists_page_by_id(ask: Caller, desk: Desk) -> None:
    ids = [await dead(desk, source=f"s:{n}") for n in range(5)]
    first = await ask("dead.list", DeadList(limit=3), DeadPage)
    assert [d.dead_id for d in first.dead] == ids[:3]
    assert first.next_after == ids[2]
    rest = await ask("dead.list", DeadList(after=ids[2], limit=3), DeadPage)
    assert ([d.dead_id for d in rest.dead], rest.next_after) == (ids[3:], None)


async def test_the_original_bytes_are_shown_even_when_they_are_no_text(ask: Caller, desk: Desk) -> None:
    dead_id = await dead(desk, body=b"\xff\x00bad")
    found = await ask("dead.show", DeadRef(dead_id=dead_id), DeadDetail)
    assert (found.body, found.subject, found.view.reason) == (b"\xff\x00bad", "t.tasks.desk", "not JSON")
    large = await dead(desk, body=b"x" * (SHOWN_BYTES + 7), source="s:2")
    found = await ask("dead.show", DeadRef(dead_id=large), DeadDetail)
    assert (len(found.body), found.view.size) == (SHOWN_BYTES, SHOWN_BYTES + 7)


async def test_redrive_publishes_the_bytes_and_then_forgets_them(ask: Caller, desk: Desk) -> None:
    await desk.bus.ensure_stream(StreamSpec(name="T_TASKS", subjects=("t.tasks.>",), retention="limits"))
    dead_id = await dead(desk, body=b"\xffraw")
    view = await ask("dead.redrive", DeadRef(dead_id=dead_id), DeadView)
    assert view.dead_id == dead_id
    message = await _only(desk)
    assert message.body == b"\xffraw"
    assert message.headers["Waypost-Note"] == "x"
    assert "nats-expected-stream" not in message.headers
    with pytest.raises(NotFound):
        await ask("dead.redrive", DeadRef(dead_id=dead_id), DeadView)


async def test_what_cannot_be_published_stays(ask: Caller, desk: Desk) -> None:
    dead_id = await dead(desk, subject="t.nowhere")
    with pytest.raises(WaypostError):
        await ask("dead.redrive", DeadRef(dead_id=dead_id), DeadView)
    assert (await ask("dead.show", DeadRef(dead_id=dead_id), DeadDetail)).view.dead_id == dead_id


async def test_discard_removes_for_good(ask: Caller, desk: Desk) -> None:
    dead_id = await dead(desk)
    await ask("dead.discard", DeadRef(dead_id=dead_id), DeadView)
    for endpoint, answer in (("dead.discard", DeadView), ("dead.show", DeadDetail)):
        with pytest.raises(NotFound):
            await ask(endpoint, DeadRef(dead_id=dead_id), answer)


@pytest.mark.parametrize(
    ("stored", "published"),
    [
        (f"t.mailbox.7.advance.desk.{RUN}", f"t.mailbox.advance.desk.{RUN}"),
        (f"t.mailbox.advance.desk.{RUN}", f"t.mailbox.advance.desk.{RUN}"),
        ("t.tasks.desk", "t.tasks.desk"),
        ("t.tasks.7.a.b.c", "t.tasks.7.a.b.c"),
        ("t.tools.mail", "t.tools.mail"),
    ],
)
def test_a_partition_in_a_stored_subject_is_taken_out(stored: str, published: str) -> None:
    assert as_published(Subjects("t"), stored) == published


async def test_payloads_come_back_as_they_went(ask: Caller, desk: Desk) -> None:
    data = b'"' + b"abc" * BLOB_CHUNK_BYTES + b'"'
    ref = await Payloads(ask.bus, desk.subjects).store(data)
    assert await desk.store.blobs.get(ref.sha256) == data
    assert await Payloads(ask.bus, desk.subjects).fetch(ref) == data


async def test_unknown_payloads_are_not_found(ask: Caller) -> None:
    for request in (PayloadGet(sha256="0" * 64), PayloadGet(sha256="0" * 64, index=3)):
        with pytest.raises(NotFound):
            answer_of(await ask.raw("payloads.get", encode(request)))
    with pytest.raises(BadInput, match="SHA-256"):
        answer_of(await ask.raw("payloads.get", encode(PayloadGet(sha256="../x"))))


@pytest.mark.parametrize(
    ("change", "body", "error"),
    [
        ({SHA256_HEADER: "xyz"}, b"1", BadInput),
        ({INDEX_HEADER: "-1"}, b"1", BadInput),
        ({INDEX_HEADER: "1"}, b"1", BadInput),
        ({INDEX_HEADER: "²"}, b"1", BadInput),
        ({CHUNKS_HEADER: "many"}, b"1", BadInput),
        ({CHUNKS_HEADER: "0"}, b"1", TooLarge),
        ({CHUNKS_HEADER: "65"}, b"1", TooLarge),
        ({CHUNKS_HEADER: "2"}, b"1", BadInput),
        ({}, b"", BadInput),
        ({}, b"x" * (BLOB_CHUNK_BYTES + 1), BadInput),
    ],
)
async def test_a_bad_chunk_is_refused(ask: Caller, change: dict[str, str], body: bytes, error: type[WaypostError]) -> None:
    headers = {SHA256_HEADER: digest_of(b"1"), INDEX_HEADER: "0", CHUNKS_HEADER: "1", **change}
    with pytest.raises(error):
        answer_of(await ask.raw("payloads.put", body, headers))


async def _only(desk: Desk) -> Delivery:
    await desk.bus.ensure_consumer(ConsumerSpec(stream="T_TASKS", name="c", filter_subject="t.tasks.>"))
    puller = desk.bus.pull("T_TASKS", "c")
    [message] = await puller.next_batch(10)
    await puller.close()
    return message
