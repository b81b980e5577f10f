"""The export of traces: positions move after the collector has answered, whatever goes wrong in between."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec import Raw
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit.waypost_core.machine import RUN, Machine, succeeded
from waypost_audit.bell import Bell
from waypost_audit.projecting import Projector
from waypost_audit.trace_metrics import TraceMetrics
from waypost_audit.tracing import MAX_REFUSALS, TraceExporter, TracingConfig
from waypost_core.tracing import NOTHING
from waypost_io.bus.memory import MemoryBus
from waypost_io.otlp_traces import NotTaken, Refused
from waypost_io.store.memory import MemoryStore
from waypost_io.store.ports import EventRow
from waypost_io.store.traces import TraceEvent
from waypost_proto import commands as cmd
from waypost_proto.codec import encode
from waypost_proto.errors import ConcurrencyError, Unreachable
from waypost_proto.ids import RunId
from waypost_proto.task import parse_time

PARTITION = 0


class Collector:
    """Takes spans unless told otherwise."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.ids: list[bytes] = []
        self.fail: list[Exception] = []
        self.refuse = ""

    def send(self, body: bytes) -> None:
        if self.fail:
            raise self.fail.pop(0)
        request = ExportTraceServiceRequest.FromString(body)
        spans = [span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]
        if self.refuse and any(self.refuse in span.name for span in spans):
            raise Refused("400: no")
        self.requests.append([span.name for span in spans])
        self.ids += [span.span_id for span in spans]


class World:
    """A log in memory, its exporter, and its collector."""

    def __init__(self, **config: object) -> None:
        self.store = MemoryStore(lambda: 0.0)
        self.store.database.partitions.setdefault(PARTITION, _partition())
        self.collector = Collector()
        self.metrics = TraceMetrics()
        self.histories = 0
        self.config = TracingConfig(**config)  # type: ignore[arg-type]
        self.exporter = self.make()

    def make(self, *, keep: int = 100) -> TraceExporter:
        """A process that begins."""
        projector = Projector(self._history, NOTHING, keep=keep)
        bell = Bell(MemoryBus(), "x")
        return TraceExporter(self.store.traces, projector, self.collector.send, bell, self.config, metrics=self.metrics)

    async def _history(self, run_id: RunId, after: int, upto: int) -> Sequence[TraceEvent]:
        self.histories += 1
        return await self.store.traces.events_of([run_id], after=after, upto=upto)

    def write(self, machine: Machine, count: int | None = None) -> None:
        """Commit so many events of a run's log more."""
        events = self.store.database.events.setdefault(RUN, {})
        for event in machine.log[len(events) : None if count is None else len(events) + count]:
            part = self.store.database.partitions[PARTITION]
            part.position += 1
            row = EventRow(RUN, event.seq, event.type, PARTITION, part.position, parse_time(event.recorded_at), encode(event))
            events[event.seq] = row
            self.store.database.by_partition.setdefault(PARTITION, []).append(row)

    @property
    def position(self) -> int:
        return self.store.database.trace_cursors.get(PARTITION, 0)


def _partition() -> object:
    from waypost_io.store.memory.database import PartitionRecord

    return PartitionRecord()


def whole_run() -> Machine:
    run = Machine()
    run.calls("read")
    run.tell(succeeded())
    return run.advance(cmd.CompleteRun(seen=run.the.outside, result=Raw(b"1")))


NAMES = [
    "execute_tool read",
    "invoke_workflow clerk",
    "process waypost.tools.read",
    "process waypost.work.clerk",
    "process waypost.work.clerk",
    "send waypost.tools.read",
    "send waypost.work.clerk",
    "send waypost.work.clerk",
]


async def test_spans_go_out_as_steps_close_and_the_position_follows() -> None:
    world, run = World(), whole_run()
    assert await world.exporter.step() == 0
    for count in range(1, len(run.log) + 1):
        world.write(run, 1)
        assert await world.exporter.step() == 1
        assert world.position == count
    assert sorted(name for request in world.collector.requests for name in request) == NAMES
    assert len(set(world.collector.ids)) == len(NAMES)


async def test_a_collector_that_is_away_moves_nothing_and_gets_everything_later() -> None:
    world, run = World(), whole_run()
    world.write(run)
    world.collector.fail = [NotTaken("away"), NotTaken("away")]
    for _ in range(2):
        with pytest.raises(NotTaken):
            await world.exporter.step()
        assert world.position == 0
        world.exporter._drop()
    await world.exporter.step()
    assert sorted(world.collector.requests[0]) == NAMES


@pytest.mark.parametrize("bound", [{"batch_max": 1}, {"batch_bytes": 1}])
async def test_after_a_full_batch_there_is_no_pause(bound: dict[str, int]) -> None:
    world, run = World(**bound), whole_run()
    world.write(run, 2)
    assert await world.exporter.step() == 1
    assert world.exporter._more
    whole = World()
    whole.write(run, 2)
    assert await whole.exporter.step() == 2
    assert not whole.exporter._more


async def test_a_process_that_begins_in_the_middle_makes_the_trace_from_its_history() -> None:
    world, run = World(), whole_run()
    world.write(run, 2)
    await world.exporter.step()
    world.write(run)
    await world.make().step()
    assert world.histories == 1
    assert sorted(name for request in world.collector.requests for name in request) == NAMES
    assert len(set(world.collector.ids)) == len(NAMES)


async def test_what_was_sent_before_a_crash_is_sent_again_under_the_same_ids() -> None:
    world, run = World(), whole_run()
    world.write(run)
    real, world.store.traces.move = world.store.traces.move, _unreachable  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        await world.exporter.step()
    world.store.traces.move = real  # type: ignore[method-assign]
    first = list(world.collector.ids)
    await world.make().step()
    assert world.collector.ids == first * 2


async def _unreachable(*_: object) -> None:
    raise Unreachable("gone")


async def test_a_run_that_is_not_kept_costs_one_read() -> None:
    world, run = World(), whole_run()
    exporter = world.make(keep=0)
    for _ in run.log:
        world.write(run, 1)
        await exporter.step()
    assert sorted(name for request in world.collector.requests for name in request) == NAMES
    assert world.histories == len(run.log) - 1


async def test_the_one_span_that_is_refused_is_left_out() -> None:
    world, run = World(), whole_run()
    world.write(run)
    world.collector.refuse = "process waypost.tools.read"
    await world.exporter.step()
    assert world.position == len(run.log)
    assert sorted(name for request in world.collector.requests for name in request) == [
        name for name in NAMES if "process waypost.tools" not in name
    ]
    assert world.metrics.refused.value == 1


async def test_a_collector_that_refuses_everything_is_waited_for() -> None:
    world, run = World(spans_max=1), whole_run()
    world.write(run)
    world.collector.refuse = "e"
    world.exporter._refusals = MAX_REFUSALS
    with pytest.raises(NotTaken, match="every span"):
        await world.exporter.step()
    assert world.position == 0


async def test_two_processes_do_not_both_move_the_position() -> None:
    world, run = World(), whole_run()
    other = world.make()
    world.write(run, 2)
    await world.exporter.step()
    await other.step()
    world.write(run, 1)
    await other.step()
    world.write(run, 1)
    with pytest.raises(ConcurrencyError):
        await world.exporter.step()


async def test_who_stands_aside_takes_over_when_nothing_moves() -> None:
    world, run = World(), whole_run()
    standing = world.make()
    standing._left_to_another = {}
    world.write(run, 1)
    await world.exporter.step()
    await standing.watch()
    assert standing._left_to_another == {PARTITION: 1}
    await standing.watch()
    assert standing._left_to_another is not None, "nothing is to be done"
    world.write(run, 1)
    await world.exporter.step()
    world.write(run, 1)
    await standing.watch()
    assert standing._left_to_another is not None, "the other has moved since"
    await standing.watch()
    assert standing._left_to_another is None
    assert await standing.step() == 1


async def test_a_log_with_a_hole_is_said_and_stops_nobody() -> None:
    world, run = World(), whole_run()
    world.write(run)
    del world.store.database.events[RUN][2]
    world.store.database.by_partition[PARTITION].pop(1)
    await world.exporter.step()
    assert world.metrics.broken.value == 1
    assert world.position == len(run.log)


async def test_beginning_now_leaves_out_what_was_before() -> None:
    world, run = World(from_now=True), whole_run()
    world.write(run, 2)
    await world.exporter.step()
    assert world.collector.requests == []
    world.write(run)
    await world.exporter.step()
    assert "invoke_workflow clerk" in world.collector.requests[0], "a run that began before is traced whole from there on"
    assert world.histories == 1
