"""CORRECTNESS.md row 20: what a step costs does not depend on how long its run has lived."""

from __future__ import annotations

from tests.unit.waypost_coordinator.rig import Replica, Site, call, site
from tests.unit.waypost_core.machine import RUN, Machine, succeeded
from waypost_core.state import RECENT_CAUSES, encode_state
from waypost_io.bus.topology import stream_specs
from waypost_proto.mailbox import Signal
from waypost_proto.subjects import Subjects
from waypost_proto.work import Activation


def lived(steps: int) -> Machine:
    """A run that has made so many calls and taken so many signals."""
    run = Machine()
    for number in range(steps):
        run.calls("read", f"0:{number + 1}")
        run.tell(succeeded(f"0:{number + 1}"))
        run.tell(Signal(run_id=RUN, request_id=f"request-{number:05}", name="go"))
    return run


def test_a_state_does_not_grow_with_its_history() -> None:
    short, long = lived(RECENT_CAUSES), lived(RECENT_CAUSES * 20)
    assert len(encode_state(long.the)) <= len(encode_state(short.the)) + 50, "only numbers may have more digits"
    assert long.refold() == long.the


async def test_a_batch_of_a_long_run_writes_no_more_than_one_of_a_short_run() -> None:
    async with site() as desk, desk.replica() as replica:
        await desk.hosts()
        sizes = [await steps(desk, replica, 3), await steps(desk, replica, 60)]
    assert sizes[1] <= sizes[0] + 50


async def steps(desk: Site, replica: Replica, count: int) -> int:
    """Bytes of state and activation after so many steps."""
    run_id = await replica.start()
    given: Activation = await desk.activation(run_id)
    for number in range(1, count + 1):
        await desk.advance(given, call("look", given, f"0:{number}"))
        await desk.succeed(await desk.call(run_id, number))
        given = await desk.activation(run_id, number + 1)
    assert len(given.entries) == 1, "an activation carries what is new, not the history"
    return len(desk.database.runs[run_id].state) + len(given.entries)


def test_every_stream_is_bounded() -> None:
    for spec in stream_specs(Subjects("t"), partitions=8):
        assert spec.max_bytes > 0
        assert spec.max_message_bytes > 0
        assert spec.retention == "work_queue" or spec.max_age_seconds > 0, f"{spec.name} keeps its subjects for ever"
