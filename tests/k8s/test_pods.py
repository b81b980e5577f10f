"""The dev overlay at work: every container of it is started, probed, used and stopped, as processes on embedded servers."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.k8s.pods import Place, Pod
from tests.k8s.rendering import ours
from waypost.client import Client
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres

FOLDER = "overlays/dev"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def cluster(place: Place) -> AsyncIterator[dict[str, Pod]]:
    pods = {name: Pod(place, name, pod, _free_port()) for name, pod in ours(place.folder)}
    try:
        yield pods
    finally:
        for pod in pods.values():
            await pod.kill()


async def test_it_comes_up_does_its_work_and_drains(tmp_path: Path, own_nats: EmbeddedNats, own_postgres: EmbeddedPostgres) -> None:
    url = await own_postgres.create_database("waypost")
    hosts = {"nats://nats:4222": own_nats.url, "postgresql://postgres:waypost-dev@postgres:5432/waypost": url}
    async with cluster(Place(folder=FOLDER, path=tmp_path, hosts=hosts)) as pods:
        migrate = pods.pop("waypost-migrate")
        for pod in pods.values():  # all at once, as `kubectl apply` does: they wait for what is not there yet
            await pod.start()
        for name in ("waypost-coordinator", "desk-gateway", "waypost-audit-logger"):
            await pods[name].says_once("the database lacks the migrations")
        await migrate.start()
        assert await migrate.ended() == 0, migrate.says()
        for pod in pods.values():
            await pod.ready()
            assert await pod.probe("livenessProbe"), pod.says()
        async with Client(url=own_nats.url, patience_seconds=20) as client:
            run_id = (await client.start("greeter", " ada ")).run_id
            assert await client.result(run_id) == f"Hello Ada, this is run {run_id}."
            assert any(view.gateways for view in await client.tools())
        for name in ("desk", "desk-gateway", "waypost-audit-logger", "waypost-edge", "waypost-coordinator"):
            assert await pods[name].stop() == 0, pods[name].says()
