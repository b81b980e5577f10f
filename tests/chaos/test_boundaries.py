"""kill -9 of each service at every commit, publish and ack boundary: every run ends, with the same result and one effect.

A fault point kills its process at a passage in the middle of the run; the process is started again without faults, as a supervisor would.
"""

from __future__ import annotations

import json
import os
import time

import nats
import pytest

from tests.chaos.stack import Stack
from tests.waiting import wait_until
from waypost.client import Client
from waypost_proto.errors import NotFound
from waypost_proto.ids import uuid7

POINTS = [
    *(f"coordinator.{b}.{w}" for b in ("intake", "commit", "publish", "ack") for w in ("before", "after")),
    *(f"worker.{b}.{w}" for b in ("activation", "publish", "ack") for w in ("before", "after")),
    *(f"gateway.{b}.{w}" for b in ("start", "execute", "settle", "publish", "ack") for w in ("before", "after")),
]
RESULT = "BOB BOBX CHILD paid 2"
NON_READ_ONLY = ("gateway.start", "gateway.settle")
"""Passed once a payment, not once a call."""


QUICK = (
    "coordinator.intake.after",
    "coordinator.commit.before",
    "coordinator.commit.after",
    "worker.publish.before",
    "worker.ack.before",
    "gateway.execute.before",
    "gateway.execute.after",
    "gateway.settle.after",
)
"""One on each side of what is durable, in each service; the public test command dies only here, CI everywhere."""


def case(point: str) -> object:
    return pytest.param(point, marks=() if point in QUICK else pytest.mark.slow)


def passage(point: str, which: int) -> int:
    """Which passage to die at: a run passes intake, and a gateway's ledger, once."""
    return 1 if point.startswith(("coordinator.intake", *NON_READ_ONLY)) else which


@pytest.mark.crash
@pytest.mark.parametrize("point", [case(point) for point in POINTS])
async def test_a_kill_at_this_boundary_changes_only_the_time(point: str, services: Stack, client: Client) -> None:
    service = point.split(".", 1)[0]
    await services.arm(service, f"{point}:{passage(point, 3)}")
    started = await publish_task(services)
    await services.died(service)
    await services.start(service)
    await wait_until(lambda: client.get(started), seconds=20, ignore=(NotFound,), message=services.log)
    result = await client.result(started, timeout=40)
    events = [event async for event in client.events(started)]
    assert result == RESULT, services.log()
    assert len(services.effects()) == 1, services.effects()
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert sum(event.type == "run_completed" for event in events) == 1


async def publish_task(services: Stack) -> str:
    """By plain publish with nats-py, so that intake is passed too; the run id is the publisher's."""
    run_id = uuid7(int(time.time() * 1000), os.urandom(10))
    connection = await nats.connect(services.environment["WAYPOST_NATS_URL"])
    stream = connection.jetstream()
    body = json.dumps({"input": "bob", "run_id": run_id}).encode()

    async def published() -> bool:  # the coordinator may be dead before it has made the stream
        await stream.publish(f"{services.environment['WAYPOST_PREFIX']}.tasks.clerk", body, timeout=1)
        return True

    try:
        await wait_until(published, seconds=20, ignore=(nats.errors.Error,), message=services.log)
    finally:
        await connection.close()
    return run_id
