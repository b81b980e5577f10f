"""docs/replicas.md: its numbers are those of the code, and the silences fit together."""

from __future__ import annotations

import re

from tests.unit.docs.pages import text_of
from waypost_coordinator.balance import TOLERANCE
from waypost_io.bus.jetstream import BusTuning
from waypost_io.bus.topology import INTAKE_ACK_SECONDS
from waypost_io.settings import CoordinatorSettings, GatewaySettings, WorkerSettings
from waypost_proto.registry import HEARTBEAT_SECONDS
from waypost_worker.loop_watch import STUCK_SECONDS
from waypost_worker.tuning import Tuning

TEXT = text_of("replicas.md")
LIMIT_SECONDS = 5.0
POSTGRES = "postgresql://localhost/x"
COORDINATOR = CoordinatorSettings(postgres_url=POSTGRES)
GATEWAY = GatewaySettings(postgres_url=POSTGRES)
WORKER = WorkerSettings()


def test_the_settings_have_the_values_that_the_page_gives() -> None:
    values = {
        "WAYPOST_COORDINATOR_LEASE_SECONDS": COORDINATOR.lease_seconds,
        "WAYPOST_COORDINATOR_HEARTBEAT_SECONDS": COORDINATOR.heartbeat_seconds,
        "WAYPOST_WORKER_ACK_WAIT_SECONDS": WORKER.ack_wait_seconds,
        "WAYPOST_GATEWAY_ACK_WAIT_SECONDS": GATEWAY.ack_wait_seconds,
        "WAYPOST_DRAIN_SECONDS": COORDINATOR.drain_seconds,
        "WAYPOST_PARTITIONS": COORDINATOR.partitions,
    }
    for name, value in values.items():
        said = re.search(rf"`{name}`[^.|]{{0,4}}\(?({value:g})\b", TEXT) or re.search(rf"`{name}`, {value:g} by default", TEXT)
        assert said, f"{name} is {value:g}"


def test_every_silence_ends_within_five_seconds_and_they_fit_together() -> None:
    silences = [
        COORDINATOR.heartbeat_seconds,
        WORKER.ack_wait_seconds,
        GATEWAY.ack_wait_seconds,
        INTAKE_ACK_SECONDS,
        COORDINATOR.lease_seconds,
    ]
    assert max(silences) + 0.5 < LIMIT_SECONDS
    assert GATEWAY.lease_seconds < GATEWAY.ack_wait_seconds, "or the call of a dead gateway would be left once more"
    assert WORKER.heartbeat_seconds == GATEWAY.heartbeat_seconds == HEARTBEAT_SECONDS
    assert COORDINATOR.heartbeat_seconds >= 3 * HEARTBEAT_SECONDS
    assert COORDINATOR.heartbeat_seconds > STUCK_SECONDS
    assert Tuning().fresh_wait_seconds < COORDINATOR.heartbeat_seconds
    tuning = BusTuning()
    assert tuning.pull_expires_seconds < min(WORKER.ack_wait_seconds, GATEWAY.ack_wait_seconds)
    assert 2 * tuning.pull_heartbeat_seconds <= tuning.pull_expires_seconds
    assert f"given work for {tuning.pull_expires_seconds:g} seconds" in TEXT


def test_when_a_worker_is_busy() -> None:
    assert f"{TOLERANCE:g} times" in text_of("adr/0199-runs-leave-a-busy-worker.md")
