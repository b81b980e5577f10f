"""`runs.start`: the rules of a task, idempotency, large inputs."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET, Raw

from tests.unit.waypost_coordinator.api.conftest import Caller
from tests.unit.waypost_coordinator.api.rig import Desk, new_id
from waypost_proto.api import RunAnswer, RunsStart, RunView
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput, Conflict, NotFound, TooLarge, WaypostError
from waypost_proto.ids import digest_of
from waypost_proto.limits import BLOB_CHUNK_BYTES, CLAIM_CHECK_BYTES, MAX_MESSAGE_BYTES
from waypost_proto.mailbox import StartRun
from waypost_proto.task import TaskBudget
from waypost_proto.values import BlobRef, Budget


def submitted(desk: Desk) -> StartRun:
    [mail] = desk.submitted
    assert isinstance(mail, StartRun)
    return mail


async def test_a_run_is_committed_when_the_answer_comes(ask: Caller, desk: Desk) -> None:
    answer = await ask("runs.start", RunsStart(agent="desk", input=Raw(b'{"id":1}')), RunAnswer)
    assert (answer.status, answer.duplicate) == ("pending", False)
    row = await desk.store.reads.get(answer.run_id)  # type: ignore[arg-type]
    assert row is not None
    assert row.agent == "desk"


async def test_everything_a_client_says_reaches_the_coordinator(ask: Caller, desk: Desk) -> None:
    run_id = new_id()
    request = RunsStart(
        agent="desk",
        input=Raw(b"[1]"),
        run_id=run_id.upper(),
        correlation_id="c-1",
        idempotency_key="k-1",
        budget=TaskBudget(max_steps=5),
        deadline="PT1H",
        labels={"team": "red"},
    )
    message = await ask.raw("runs.start", encode(request), {"traceparent": "00-0-0-01"})
    assert msgspec.json.decode(message.body, type=RunAnswer).run_id == run_id
    mail = submitted(desk)
    assert mail.run_id == run_id
    assert (mail.correlation_id, mail.idempotency_key, mail.deadline) == ("c-1", "k-1", "PT1H")
    assert mail.budget == Budget(max_steps=5)
    assert mail.labels == {"team": "red"}
    assert mail.trace == "00-0-0-01"
    assert bytes(mail.input) == b"[1]"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (b'{"agent":"desk","input":1,"budgt":{}}', BadInput, "unknown field 'budgt': did you mean 'budget'"),
        (b'{"agent":"desk","input":1,"budget":{"max_step":1}}', BadInput, "unknown field 'max_step'"),
        (b'{"agent":"desk","input":1,"budget":{"max_steps":0}}', WaypostError, r"\$.budget.max_steps"),
        (b'{"agent":"desk"}', BadInput, "input is missing"),
        (b'{"agent":"De sk","input":1}', BadInput, "agent name 'De sk'"),
        (b'{"agent":"desk","input":1,"run_id":"7"}', BadInput, "run id '7' is not a UUIDv7"),
        (b'{"agent":"desk","input":1,"deadline":"soon"}', BadInput, "deadline 'soon'"),
        (b'{"agent":"desk","input":1,"idempotency_key":""}', WaypostError, "idempotency_key"),
        (b'{"agent":"desk","input":1,"labels":{%s}}' % b",".join(b'"%d":""' % n for n in range(40)), BadInput, "40 labels"),
        (b'{"agent":"desk","input":' + b"[" * 80 + b"]" * 80 + b"}", WaypostError, "nested 8"),
        (b"{", WaypostError, "not a valid RunsStart"),
        (b'{"agent":"desk","input":"\xff"}', WaypostError, "UTF-8"),
    ],
)
async def test_a_bad_request_says_what_is_wrong_and_starts_nothing(
    ask: Caller, desk: Desk, body: bytes, error: type[WaypostError], says: str
) -> None:
    with pytest.raises(error, match=says):
        await ask("runs.start", body, RunAnswer)
    assert desk.submitted == []


async def test_the_same_key_again_returns_the_first_run(ask: Caller) -> None:
    request = RunsStart(agent="desk", input=Raw(b"1"), idempotency_key="k")
    first = await ask("runs.start", request, RunAnswer)
    again = await ask("runs.start", request, RunAnswer)
    assert again.run_id == first.run_id
    assert again.duplicate
    with pytest.raises(Conflict, match="another"):
        await ask("runs.start", RunsStart(agent="desk", input=Raw(b"2"), idempotency_key="k"), RunAnswer)


async def test_a_large_inline_input_becomes_a_reference(ask: Caller, desk: Desk) -> None:
    data = encode("x" * (CLAIM_CHECK_BYTES + 1))
    answer = await ask("runs.start", RunsStart(agent="desk", input=Raw(data)), RunAnswer)
    mail = submitted(desk)
    assert mail.input is UNSET
    assert mail.input_ref == BlobRef(sha256=digest_of(data), size=len(data))
    assert await desk.store.blobs.get(digest_of(data)) == data
    assert (await ask("runs.get", {"run_id": answer.run_id}, RunView)).status == "pending"


async def test_an_input_past_a_message_is_refused_with_the_way_out(desk: Desk, ask: Caller) -> None:
    body = b'{"agent":"desk","input":"' + b"x" * MAX_MESSAGE_BYTES + b'"}'
    with pytest.raises(TooLarge):
        await ask("runs.start", body, RunAnswer)
    assert desk.submitted == []


async def test_a_reference_must_be_to_a_complete_json_payload(ask: Caller, desk: Desk) -> None:
    data = b'{"a":' + b"1" * (BLOB_CHUNK_BYTES + 5) + b"}"
    ref = BlobRef(sha256=digest_of(data), size=len(data))
    with pytest.raises(NotFound, match="not uploaded completely"):
        await ask("runs.start", RunsStart(agent="desk", input_ref=ref), RunAnswer)
    await desk.store.blobs.put_chunk(ref.sha256, 0, 2, data[:BLOB_CHUNK_BYTES])
    with pytest.raises(NotFound):
        await ask("runs.start", RunsStart(agent="desk", input_ref=ref), RunAnswer)
    await desk.store.blobs.put_chunk(ref.sha256, 1, 2, data[BLOB_CHUNK_BYTES:])
    assert (await ask("runs.start", RunsStart(agent="desk", input_ref=ref), RunAnswer)).status == "pending"
    with pytest.raises(BadInput, match="says 3 bytes"):
        await ask("runs.start", RunsStart(agent="desk", input_ref=BlobRef(sha256=ref.sha256, size=3)), RunAnswer)
    rubbish = await desk.store.blobs.put(b"{no json")
    with pytest.raises(WaypostError, match="not a valid"):
        await ask("runs.start", RunsStart(agent="desk", input_ref=BlobRef(sha256=rubbish, size=8)), RunAnswer)
    with pytest.raises(BadInput, match="both"):
        await ask("runs.start", RunsStart(agent="desk", input=Raw(b"1"), input_ref=ref), RunAnswer)


async def test_a_small_input_is_the_same_inline_and_by_reference(ask: Caller, desk: Desk) -> None:
    """One key, given once with its input and once with a reference to the same value: the same run."""
    data = b'{"id":"c-1"}'
    ref = BlobRef(sha256=await desk.store.blobs.put(data), size=len(data))
    first = await ask("runs.start", RunsStart(agent="desk", input=Raw(b'{"id": "c-1"}'), idempotency_key="k"), RunAnswer)
    again = await ask("runs.start", RunsStart(agent="desk", input_ref=ref, idempotency_key="k"), RunAnswer)
    assert (again.run_id, again.duplicate) == (first.run_id, True)
