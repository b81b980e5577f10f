"""A read goes out while the commit that requests it is under way, and nothing rests on it before the commit (CORRECTNESS.md row 4)."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.rig import AGENT, LOOK, PAY, SUBJECTS, Replica, Site, call, complete
from tests.waiting import wait_until
from waypost_coordinator import dead
from waypost_proto.mailbox import ToolFailed, ToolSucceeded
from waypost_proto.registry import Announce, ToolDefinition
from waypost_proto.tools import ToolCall
from waypost_proto.values import Failure

READ = msgspec.structs.replace(LOOK, answers_digest=True)


async def host(desk: Site, tool: ToolDefinition) -> None:
    await desk.announce(Announce(peer="g1", kind="gateway", build="b1", tools=[tool]))


async def answer(desk: Site, tool_call: ToolCall, result: bytes) -> None:
    """As a gateway that says which call it answers."""
    digest = tool_call.args_digest
    await desk.mail(ToolSucceeded(run_id=tool_call.run_id, call_id=tool_call.call_id, attempt=1, call_digest=digest, result=Raw(result)))


async def test_a_read_is_on_the_road_before_its_commit_and_no_activation_is(desk: Site, replica: Replica) -> None:
    await host(desk, READ)
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.log.gate.clear()
    await desk.advance(given, call("look", given))
    sent = await desk.call(run_id)
    await wait_until(lambda: replica.log.waiting == 1)
    await answer(desk, sent, b"2")
    await wait_until(lambda: replica.coordinator._pipeline._next is not None)
    assert (desk.types(run_id), len(desk.activations(run_id)), desk.confirms) == (["run_started"], 1, [])
    replica.log.gate.set()
    second = await desk.activation(run_id, 2)
    await desk.advance(second, complete(second))
    await desk.until(run_id, "run_completed")
    assert len(desk.calls(run_id)) == 1
    await wait_until(lambda: desk.on("MAILBOX") == [])


async def test_a_read_that_was_answered_before_its_request_was_recorded_is_asked_for_again(desk: Site, replica: Replica) -> None:
    """Its commit failed and its advance was lost with a stream; the worker repeats that, after the answer came to a call nobody knew."""
    await host(desk, READ)
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.log.gate.clear()
    await desk.advance(given, call("look", given))
    sent = await desk.call(run_id)
    await wait_until(lambda: replica.log.waiting == 1)
    for stream in ("MAILBOX", "TOOLS"):
        desk.broker.streams[SUBJECTS.stream(stream)].purge(None)
    desk.database.down = True
    replica.log.gate.set()
    await wait_until(lambda: not replica.coordinator.leases.epochs)
    desk.database.down = False
    await answer(desk, sent, b"2")
    await wait_until(lambda: desk.on("MAILBOX") == [], message=lambda: str(desk.on("MAILBOX")))
    assert "tool_call_requested" not in desk.types(run_id)
    await desk.advance(given, call("look", given))
    await answer(desk, await desk.call(run_id), b"3")
    await desk.until(run_id, "tool_call_completed")


async def test_a_read_whose_answer_was_lost_with_the_mailbox_is_asked_for_again(desk: Site, replica: Replica) -> None:
    """Its commit failed too, so nothing said that anybody waits for the answer; and its first message id is used up."""
    await host(desk, READ)
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.log.gate.clear()
    await desk.advance(given, call("look", given))
    await answer(desk, await desk.call(run_id), b"2")
    await wait_until(lambda: replica.log.waiting == 1)
    mailbox = SUBJECTS.stream("MAILBOX")
    desk.broker.streams.pop(mailbox).end()
    desk.database.down = True
    replica.log.gate.set()
    await wait_until(lambda: not replica.coordinator.leases.epochs)
    desk.database.down = False
    await wait_until(lambda: mailbox in desk.broker.streams and replica.coordinator.leases.epochs)
    await desk.advance(given, call("look", given))
    await wait_until(lambda: len(desk.calls(run_id)) == 2, message=lambda: str(desk.calls(run_id)))
    await answer(desk, desk.calls(run_id)[-1], b"3")
    await desk.until(run_id, "tool_call_completed")


@pytest.mark.parametrize(
    "tool", [LOOK, msgspec.structs.replace(PAY, answers_digest=True)], ids=["a gateway that names no call", "a payment"]
)
async def test_nothing_else_is_early(desk: Site, replica: Replica, tool: ToolDefinition) -> None:
    await host(desk, tool)
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.log.gate.clear()
    await desk.advance(given, call(tool.name, given))
    await wait_until(lambda: replica.log.waiting == 1)
    assert desk.calls(run_id) == []
    replica.log.gate.set()
    await desk.call(run_id)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_that_fails_after_the_answer_came(desk: Site, replica: Replica, when: str) -> None:
    """Both messages come again, in order: the read is not asked for twice, and its answer counts once."""
    await host(desk, READ)
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.log.gate.clear()
    await desk.advance(given, call("look", given))
    await answer(desk, await desk.call(run_id), b"2")
    await wait_until(lambda: replica.coordinator._pipeline._next is not None)
    replica.store.fail_next_commit(when)  # type: ignore[arg-type]
    replica.log.gate.set()
    second = await desk.activation(run_id, 2)
    await desk.advance(second, complete(second))
    await desk.until(run_id, "run_completed")
    assert desk.types(run_id) == ["run_started", "tool_call_requested", "tool_call_completed", "run_completed"]
    assert len(desk.calls(run_id)) == 1


async def test_the_answer_to_a_call_that_was_never_committed_is_not_taken_for_another(
    desk: Site, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The advance that asked is gone with its commit; another worker asks for something else under the same number."""
    monkeypatch.setattr(dead, "TRIES", 1)
    await host(desk, READ)
    await desk.announce(Announce(peer="w2", kind="worker", build="b1", agents=[AGENT]))
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.log.poison.add(run_id)  # the commit is refused, and its letter buried
    await desk.advance(given, call("look", given, args=Raw(b'{"x":1}')))
    lost = await desk.call(run_id)
    await wait_until(lambda: replica.log.refused)
    await wait_until(lambda: desk.on("MAILBOX") == [], message="it is not buried")
    replica.log.poison.clear()
    await desk.advance(given, call("look", given, args=Raw(b'{"x":2}')), worker="w2")
    asked = await desk.call(run_id, 2)
    assert (asked.call_id, asked.args) == (lost.call_id, Raw(b'{"x":2}'))
    await answer(desk, lost, b'"of the first"')
    failure = Failure(type="Gone", message="of the first")
    failed = ToolFailed(run_id=run_id, call_id=lost.call_id, attempt=1, call_digest=lost.args_digest, error=failure, retryable=False)
    await desk.mail(failed)
    await wait_until(lambda: desk.on("MAILBOX") == [])
    assert desk.types(run_id) == ["run_started", "tool_call_requested"]
    await answer(desk, asked, b'"of the second"')
    second = await desk.activation(run_id, 2)
    assert [bytes(msgspec.json.decode(entry.data, type=dict[str, Raw])["result"]) for entry in second.entries] == [b'"of the second"']
