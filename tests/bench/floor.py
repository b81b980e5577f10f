"""The floor: three processes that move the messages and write the rows of a tape, and decide nothing.

    python -m tests.bench.floor {coordinator,worker,gateway} TAPE_FILE      (servers by WAYPOST_NATS_URL, WAYPOST_POSTGRES_URL)

Same adapter, streams, consumers, tables, sizes and pipelining as Waypost. What Waypost costs above this is its logic: decoding, deciding,
folding, journals, tokens, fencing.

A message's body is the run id and the number of the commit that it leads to or comes from, filled up to its size.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg
import msgspec
import uvloop

from tests.bench.tape import Tape
from tests.bench.work import AGENT, TOOL
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.ports import ConsumerSpec, Delivery, PubAck, Puller
from waypost_io.bus.topology import mail_consumer, sticky_consumer, tasks_consumer, tool_consumer
from waypost_proto.ids import RunId, WorkerId, partition_of
from waypost_proto.subjects import Subjects

PREFIX = "floor"
PARTITIONS = 8
BUILD = "dev"
WORKER = WorkerId("floor")
BATCH = 500
IN_HAND = 2_000
_RUN_ID_BYTES = 36

Confirmation = Awaitable[PubAck]

# the run's row is of the same width as a real one; times are the database's
_COMMIT = """
WITH written AS (
    INSERT INTO events (run_id, seq, type, partition, position, recorded_at, data, cause)
    SELECT e.run_id, e.seq, e.type, e.partition, e.position, now(), e.body, e.cause
      FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::integer[], $5::bigint[], $6::bytea[], $7::text[])
           AS e (run_id, seq, type, partition, position, body, cause)
)
INSERT INTO runs AS old (run_id, seq, created_at, updated_at, partition, state_version, open, held, tenant, agent, build, status, worker,
                         correlation_id, labels, state)
SELECT r.run_id, r.seq, now(), now(), r.partition, 1, true, false, 'default', 'bench', 'dev', 'waiting', 'floor',
       r.run_id::text, '{}', r.state
  FROM unnest($8::uuid[], $9::bigint[], $10::integer[], $11::bytea[]) AS r (run_id, seq, partition, state)
    ON CONFLICT (run_id) DO UPDATE SET seq = excluded.seq, updated_at = excluded.updated_at, state = excluded.state
"""


class Player:
    """Publishes the tape's messages."""

    def __init__(self, bus: JetStreamBus, tape: Tape) -> None:
        self.bus = bus
        self.subjects = Subjects(PREFIX)
        self.tape = tape
        self.last = len(tape.commits) - 1
        self._position = 0

    def send(self, kind: str, subject: str, run_id: str, commit: int) -> Confirmation:
        frame = self.tape.frames[kind]
        body = f"{run_id} {commit}".encode().ljust(frame.body_bytes)
        return self.bus.publish(subject, body, headers=frame.headers or None, msg_id=f"{run_id}.{kind}.{commit}")

    def advance(self, delivery: Delivery) -> Confirmation:
        """The worker's answer to an activation."""
        run_id, commit = marks(delivery.body)
        return self.send("advance", self.subjects.mail("advance", AGENT, RunId(run_id)), run_id, commit + 1)

    def result(self, delivery: Delivery) -> Confirmation:
        """The gateway's answer to a call."""
        run_id, commit = marks(delivery.body)
        return self.send("result", self.subjects.mail("result", TOOL, RunId(run_id)), run_id, commit + 1)

    def dispatch(self, run_id: str, commit: int) -> list[Confirmation]:
        """What follows a commit: a tool call after an advance, an activation after the rest, nothing after the end; and the events."""
        sent = []
        if commit % 2:
            if commit < self.last:
                sent.append(self.send("tools", self.subjects.tool(TOOL), run_id, commit))
        else:
            sent.append(self.send("work", self.subjects.work(AGENT, BUILD, WORKER), run_id, commit))
        headers = self.tape.frames["events"].headers
        for index, shape in enumerate(self.tape.commits[commit]):
            subject = self.subjects.event(AGENT, RunId(run_id), shape.type)
            msg_id = f"{run_id}.{commit}.{index}"
            sent.append(self.bus.publish(subject, bytes(shape.body_bytes), headers=headers, msg_id=msg_id))
        return sent

    def rows(self, batch: Sequence[tuple[str, int]]) -> list[list[object]]:
        """Arguments of the group commit: columns of events, then of runs."""
        events, runs = [], []
        for run_id, commit in batch:
            partition = partition_of(RunId(run_id), PARTITIONS)
            seq = sum(map(len, self.tape.commits[:commit]))
            for shape in self.tape.commits[commit]:
                seq += 1
                self._position += 1
                cause = str(seq).ljust(shape.cause_bytes, "c") if shape.cause_bytes else ""
                events.append((run_id, seq, shape.type, partition, self._position, bytes(shape.body_bytes), cause))
            # another state each time: of an update, Postgres logs only the part between the first and the last byte that changed
            runs.append((run_id, seq, partition, bytes([commit % 256]) * self.tape.state_bytes))
        return [list(column) for column in (*zip(*events, strict=True), *zip(*runs, strict=True))]


def marks(body: bytes) -> tuple[str, int]:
    """Run id and commit of a message."""
    return body[:_RUN_ID_BYTES].decode(), int(body[_RUN_ID_BYTES:])


async def relay(puller: Puller, answer: Callable[[Delivery], Confirmation]) -> None:
    """Answer what comes, and ack it once its answer is stored. Pulling does not wait for that."""
    settling: asyncio.Queue[list[tuple[Delivery, Confirmation]]] = asyncio.Queue()

    async def settle() -> None:
        while True:
            for delivery, confirmation in await settling.get():
                await confirmation
                delivery.ack()

    async with asyncio.TaskGroup() as group:
        group.create_task(settle())
        while True:
            settling.put_nowait([(delivery, answer(delivery)) for delivery in await puller.next_batch(BATCH)])


class GroupCommits:
    """The coordinator's part: whatever has arrived goes into one commit, its dispatches follow, then the acks."""

    def __init__(self, player: Player, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._player = player
        self._connection = connection
        self._inbox: deque[tuple[str, int, Delivery]] = deque()
        self._filled = asyncio.Event()
        self._settling: asyncio.Queue[tuple[list[Delivery], list[Confirmation]]] = asyncio.Queue()

    async def run(self, tasks: Puller, mail: Sequence[Puller]) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump(tasks, _start))
            for puller in mail:
                group.create_task(self._pump(puller, marks))
            group.create_task(self._settle())
            await self._commit()

    async def _pump(self, puller: Puller, read: Callable[[bytes], tuple[str, int]]) -> None:
        while True:
            deliveries = await puller.next_batch(BATCH)  # before the inbox is looked at: a commit replaces it
            self._inbox.extend((*read(delivery.body), delivery) for delivery in deliveries)
            self._filled.set()

    async def _commit(self) -> None:
        while True:
            await self._filled.wait()
            self._filled.clear()
            batch, self._inbox = self._inbox, deque()
            arguments = self._player.rows([(run_id, commit) for run_id, commit, _ in batch])
            await self._connection.execute(_COMMIT, *arguments)
            confirmations = [sent for run_id, commit, _ in batch for sent in self._player.dispatch(run_id, commit)]
            self._settling.put_nowait(([delivery for _, _, delivery in batch], confirmations))

    async def _settle(self) -> None:
        while True:
            deliveries, confirmations = await self._settling.get()
            for confirmation in confirmations:
                await confirmation
            for delivery in deliveries:
                delivery.ack()


class _Task(msgspec.Struct):
    run_id: str


def _start(body: bytes) -> tuple[str, int]:
    return msgspec.json.decode(body, type=_Task).run_id, 0


async def _pull(bus: JetStreamBus, spec: ConsumerSpec) -> Puller:
    await bus.ensure_consumer(spec)
    return bus.pull(spec.stream, spec.name, max_in_hand=IN_HAND)


async def play(role: str, tape: Tape) -> None:
    """Be one of the three processes until killed."""
    async with JetStreamBus(os.environ["WAYPOST_NATS_URL"], name=f"floor-{role}") as bus:
        player = Player(bus, tape)
        subjects = player.subjects
        match role:
            case "worker":
                await relay(await _pull(bus, sticky_consumer(subjects, WORKER)), player.advance)
            case "gateway":
                await relay(await _pull(bus, tool_consumer(subjects, TOOL)), player.result)
            case "coordinator":
                connection = await asyncpg.connect(os.environ["WAYPOST_POSTGRES_URL"])
                mail = [await _pull(bus, mail_consumer(subjects, partition, 1)) for partition in range(PARTITIONS)]
                await GroupCommits(player, connection).run(await _pull(bus, tasks_consumer(subjects)), mail)
            case _:
                raise ValueError(f"no role {role!r}: coordinator, worker or gateway")


def main() -> None:
    """`ROLE TAPE_FILE`."""
    role, tape_file = sys.argv[1:]
    tape = msgspec.json.decode(Path(tape_file).read_bytes(), type=Tape)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(play(role, tape))


if __name__ == "__main__":
    main()
