"""Activations for one worker share a message; nothing else does."""

from __future__ import annotations

from msgspec import Raw

from tests.unit.waypost_coordinator.rig import AGENT, Replica, Site, call
from tests.waiting import wait_until
from waypost_coordinator.batch import Outgoing
from waypost_coordinator.framing import MOST, MOST_BYTES, framed
from waypost_proto.codec import decode
from waypost_proto.mailbox import ToolSucceeded
from waypost_proto.registry import Announce
from waypost_proto.work import ActivationFrame


def outgoing(number: int, subject: str = "t.work.clerk.b1.w1", *, size: int = 8, may: bool = True) -> Outgoing:
    return Outgoing(subject, b'{"n":%d,"x":"%b"}' % (number, b"x" * size), f"m{number}", None, b"", "work", framed=may)


def numbers(message: Outgoing) -> list[int]:
    return [decode(dict[str, object], each)["n"] for each in decode(ActivationFrame, message.body).activations]  # type: ignore[misc]


def test_what_is_for_one_worker_is_one_message_in_its_order() -> None:
    (frame,) = framed(outgoing(n) for n in range(5))
    assert numbers(frame) == [0, 1, 2, 3, 4]
    assert (frame.subject, frame.msg_id, frame.queue) == ("t.work.clerk.b1.w1", "m0.5", "work")


def test_one_alone_and_what_may_not_share_stay_as_they_are() -> None:
    alone, shared, other = outgoing(1), outgoing(2, "t.work.clerk.b1.any", may=False), outgoing(3, "t.work.clerk.b1.any", may=False)
    assert framed([shared, alone, other]) == [shared, other, alone]


def test_workers_and_agents_are_kept_apart() -> None:
    subjects = ["t.work.clerk.b1.w1", "t.work.clerk.b1.w2", "t.work.other.b1.w1"]
    found = framed(outgoing(n, subjects[n % 3]) for n in range(9))
    assert {frame.subject: numbers(frame) for frame in found} == {s: [n, n + 3, n + 6] for n, s in enumerate(subjects)}


def test_a_frame_is_bounded_in_number_and_size() -> None:
    assert [len(numbers(frame)) for frame in framed(outgoing(n) for n in range(MOST + 2))] == [MOST, 2]
    large = framed(outgoing(n, size=MOST_BYTES // 3) for n in range(5))
    assert [numbers(frame) for frame in large[:2]] == [[0, 1], [2, 3]]
    assert large[2] == outgoing(4, size=MOST_BYTES // 3)


async def activated_at_once(desk: Site, replica: Replica) -> list[bytes]:
    """The messages by which six runs of one worker hear of results that came while a commit was under way."""
    runs = [await replica.start() for _ in range(6)]
    for run_id in runs:
        given = await desk.activation(run_id)
        await desk.advance(given, call("look", given))
    asked = [await desk.call(run_id) for run_id in runs]
    await wait_until(lambda: all("tool_call_requested" in desk.types(run_id) for run_id in runs))
    before = len(desk.on("WORK"))
    replica.log.gate.clear()
    for one in asked:
        await desk.mail(ToolSucceeded(run_id=one.run_id, call_id=one.call_id, attempt=1, result=Raw(b"2")))
    await wait_until(lambda: replica.log.waiting == 1)
    await wait_until(lambda: replica.coordinator._pipeline._next is not None or not replica.ground.box)
    replica.log.gate.set()
    await wait_until(lambda: all(len(desk.activations(run_id)) == 2 for run_id in runs))
    return [message.body for message in desk.on("WORK")[before:]]


async def test_runs_of_one_worker_hear_in_one_message(desk: Site, replica: Replica) -> None:
    await desk.announce(Announce(peer="w1", kind="worker", build="b1", agents=[AGENT], frames=True))
    bodies = await activated_at_once(desk, replica)
    assert len(bodies) < 6
    assert any(body.startswith(b'{"activations":[{') for body in bodies)


async def test_a_worker_that_does_not_take_frames_gets_none(desk: Site, replica: Replica) -> None:
    """Written in another language, say: only who says `frames` gets them."""
    bodies = await activated_at_once(desk, replica)
    assert len(bodies) == 6
    assert all(body.startswith(b'{"run_id":') for body in bodies)
