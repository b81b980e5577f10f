"""Two coordinators; one is stopped for longer than its lease, the other goes on, and then the first wakes up with all it had in hand."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import nats
import pytest
from nats.aio.msg import Msg

from tests.chaos.stack import Stack, hosted, stack
from tests.integration.coordinator.outside import Outside
from tests.waiting import wait_until
from waypost_io.store.postgres import PostgresStore
from waypost_proto.codec import encode
from waypost_proto.ids import RunId, partition_of, uuid7
from waypost_proto.mailbox import Mail, Pause, Resume, Signal

PARTITIONS = 8
WALKERS = 6
STEPS = 60


class Scene:
    """A deployment with two coordinators, watched from outside."""

    def __init__(self, services: Stack, outside: Outside, store: PostgresStore) -> None:
        self.services = services
        self.outside = outside
        self.store = store
        self.call_ids: defaultdict[tuple[str, str, int], set[str]] = defaultdict(set)
        """Message ids under which each attempt of each tool call was ever published."""

    async def watch(self) -> None:
        await self.outside.connection.subscribe(f"{self.outside.prefix}.tools.*", cb=self._call)

    async def _call(self, message: Msg) -> None:
        call = json.loads(message.data)
        self.call_ids[call["run_id"], call["call_id"], call["attempt"]].add((message.headers or {})["Nats-Msg-Id"])

    async def task(self, agent: str, given: object, *, partitions: Collection[int] = range(PARTITIONS)) -> RunId:
        """A run in one of these partitions."""
        while True:
            run_id = uuid7(int(time.time() * 1000), os.urandom(10))
            if partition_of(run_id, PARTITIONS) in partitions:
                break
        await self.outside.task(agent, {"input": given, "run_id": run_id})
        await self.recorded(run_id, "run_started")
        return run_id

    async def mail(self, mail: Mail) -> None:
        """As another run or an API replica would send it; the coordinator that owns the run reads it."""
        subject = f"{self.outside.prefix}.mailbox.control.run.{mail.run_id}"
        await self.outside.stream.publish(subject, encode(mail), headers={"Nats-Msg-Id": uuid.uuid4().hex})

    async def recorded(self, run_id: RunId, kind: str, count: int = 1) -> None:
        async def there() -> bool:
            return [row.type for row in await self.store.log.load_events(run_id)].count(kind) >= count

        await wait_until(there, seconds=30, message=self.services.log)

    async def owned(self, name: str) -> set[int]:
        """The partitions of a coordinator, by its process id in the owner's name."""
        mark = f".{self.services.processes[name].pid}."
        return {lease.partition for lease in await self.store.leases.owners() if mark in lease.owner}

    async def until_owned(self, name: str, count: int) -> set[int]:
        """Wait until a coordinator owns so many partitions."""

        async def so_many() -> bool:
            return len(await self.owned(name)) == count

        await wait_until(so_many, seconds=30, message=self.services.log)
        return await self.owned(name)

    def send(self, name: str, number: signal.Signals) -> None:
        self.services.processes[name].send_signal(number)


async def start(scene: Scene) -> set[int]:
    """Both coordinators have their share; the first one's partitions."""
    async with scene.services.client() as client:
        await hosted(client)
    await scene.services.start("coordinator", key="second")
    await scene.until_owned("second", PARTITIONS // 2)
    return await scene.until_owned("coordinator", PARTITIONS // 2)


@pytest.mark.crash
async def test_a_coordinator_that_wakes_up_after_its_lease_changes_nothing(tmp_path: Path, nats_url: str, database: str) -> None:
    """CORRECTNESS.md rows 9, 10 and 13: nothing late or out of order, no append by the zombie, nothing dispatched anew."""
    connection = await nats.connect(nats_url)
    async with (
        stack(tmp_path, nats_url=nats_url, postgres_url=database) as services,
        PostgresStore(database) as store,
    ):
        scene = await begin(services, connection, store)
        async with scene.outside:
            first = await start(scene)
            ours = await scene.task("walker", STEPS)  # anywhere
            await scene.watch()
            waiter = await scene.task("waiter", 5, partitions=first)
            await scene.recorded(waiter, "signal_awaited")
            walkers = [ours, *[await scene.task("walker", STEPS, partitions=first) for _ in range(WALKERS)]]
            await scene.recorded(walkers[-1], "tool_call_completed", 3)
            await scene.mail(Pause(run_id=waiter, request_id="p1"))  # perhaps in the zombie's hands, perhaps not
            await scene.mail(Resume(run_id=waiter, request_id="r1"))
            scene.send("coordinator", signal.SIGSTOP)
            await scene.mail(Pause(run_id=waiter, request_id="p2"))
            await scene.until_owned("second", PARTITIONS)
            await scene.recorded(waiter, "run_paused", 2)
            scene.send("coordinator", signal.SIGCONT)
            await scene.mail(Resume(run_id=waiter, request_id="r2"))
            await scene.mail(Signal(run_id=waiter, request_id="s1", name="go", payload=nats_raw('"x"')))
            for run_id in [*walkers, waiter]:
                last = json.loads((await scene.outside.finished(run_id))[-1].data)
                assert last["type"] == "run_completed", last
            assert services.processes["coordinator"].returncode is None, services.log()
            await scene.until_owned("coordinator", PARTITIONS // 2)  # under new epochs, like any replica that comes
            await check(scene, walkers, waiter)
    await connection.close()


async def begin(services: Stack, connection: nats.NATS, store: PostgresStore) -> Scene:
    prefix = services.environment["WAYPOST_PREFIX"]
    async with services.client() as client:
        await hosted(client)  # the streams are there
    return Scene(services, Outside(prefix, connection, store), store)


def nats_raw(text: str):  # type: ignore[no-untyped-def]
    from msgspec import Raw

    return Raw(text.encode())


async def check(scene: Scene, walkers: list[RunId], waiter: RunId) -> None:
    for run_id in walkers:
        rows = await scene.store.log.load_events(run_id)
        assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
        types = [row.type for row in rows]
        assert types.count("tool_call_requested") == types.count("tool_call_completed") == STEPS
        published = [json.loads(message.data)["seq"] for message in scene.outside.of_run(run_id)]
        assert sorted(set(published)) == list(range(1, len(rows) + 1)), "an event is missing on `events.>`"
    controls = [row.type for row in await scene.store.log.load_events(waiter) if row.type in ("run_paused", "run_resumed")]
    assert controls == ["run_paused", "run_resumed", "run_paused", "run_resumed"], "a pause came after its resume"
    again = {call: ids for call, ids in scene.call_ids.items() if len(ids) > 1}
    assert not again, f"dispatched under several ids: {again}"
    assert len(scene.services.effects()) == 1


@pytest.mark.crash
@pytest.mark.slow
async def test_the_zombie_is_as_good_as_new(tmp_path: Path, nats_url: str, database: str) -> None:
    """CORRECTNESS.md row 10: stopped and woken again and again, each takes over from the other, and every run ends."""
    connection = await nats.connect(nats_url)
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database) as services, PostgresStore(database) as store:
        scene = await begin(services, connection, store)
        async with scene.outside:
            await start(scene)
            runs = [await scene.task("clerk", f"n{number}") for number in range(WALKERS)]
            for name in ("coordinator", "second", "coordinator"):
                other = "second" if name == "coordinator" else "coordinator"
                mine = await scene.until_owned(name, PARTITIONS // 2)
                scene.send(name, signal.SIGSTOP)
                runs.append(await scene.task("walker", 20, partitions=mine))
                await scene.until_owned(other, PARTITIONS)
                scene.send(name, signal.SIGCONT)
            for run_id in runs:
                last = json.loads((await scene.outside.finished(run_id))[-1].data)
                assert last["type"] == "run_completed", last
                rows = await scene.store.log.load_events(run_id)
                assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
            keys = services.effects()
            assert len(keys) == len(set(keys)) == WALKERS
    await connection.close()
