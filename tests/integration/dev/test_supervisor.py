"""The supervisor with real servers and small stand-ins for the services."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import nats as nats_client
import pytest

from tests.waiting import wait_until
from waypost_cli.dev import DevOptions, Notice, Supervisor
from waypost_cli.dev import options as dev_options
from waypost_io.servers import find_running
from waypost_proto.errors import BadInput, Misconfigured

STAND_IN = """
import sys
from waypost_io.lifecycle import run_service
from waypost_io.ops import OpsServer
from waypost_io.settings import Settings, load

async def serve(stop):
    settings = load(Settings)
    print("up", settings.build, sys.argv[1:], flush=True)
    async with OpsServer(settings.ops_addr):
        await stop.wait()

raise SystemExit(run_service("stand-in", serve))
"""


@pytest.fixture
def project(server_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with a user's module, stand-ins on the path, and services that run them."""
    (tmp_path / "waypost_stand_in.py").write_text(STAND_IN)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "agents.py").write_text("x = 1")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(dev_options, "_MODULES", dict.fromkeys(dev_options.SERVICES, "waypost_stand_in"))
    return tmp_path / "project"


@pytest.fixture
def seen() -> list[Notice]:
    return []


@pytest.fixture
async def supervisor(project: Path, server_dir: Path, seen: list[Notice]) -> AsyncIterator[Supervisor]:
    data_dir = server_dir / f"dev-{project.parent.name}"
    async with Supervisor(DevOptions(modules=("agents.py",), data_dir=data_dir), notify=seen.append) as running:
        yield running


async def test_everything_runs_and_can_be_found(supervisor: Supervisor) -> None:
    assert list(supervisor.processes) == ["coordinator", "worker", "gateway", "audit"]
    assert all(process.ready for process in supervisor.processes.values())
    running = find_running(supervisor.options.data_dir)
    assert running is not None
    assert running.environment == supervisor.environment
    connection = await asyncpg.connect(supervisor.postgres_url)
    assert await connection.fetchval("select to_regclass('schema_migrations') is not null")
    await connection.close()
    assert "up dev ['agents.py']" in supervisor.processes["worker"].log_tail()


@pytest.mark.crash
async def test_killed_servers_come_back_on_their_ports(supervisor: Supervisor, seen: list[Notice]) -> None:
    assert supervisor.nats is not None
    assert supervisor.postgres is not None
    urls = supervisor.nats.url, supervisor.postgres.url
    pids = supervisor.nats.pid, supervisor.postgres.pid

    await supervisor.kill("nats")
    await supervisor.postgres.kill()

    await wait_until(lambda: [notice.name for notice in seen if notice.what == "ready"].count("postgres") == 2)
    await wait_until(lambda: [notice.name for notice in seen if notice.what == "ready"].count("nats") == 2)
    assert (supervisor.nats.url, supervisor.postgres.url) == urls
    assert supervisor.nats.pid != pids[0]
    assert supervisor.postgres.pid != pids[1]


@pytest.mark.crash
async def test_a_wiped_nats_comes_back_empty(supervisor: Supervisor) -> None:
    assert supervisor.nats is not None
    connection = await nats_client.connect(supervisor.nats_url, reconnect_time_wait=0.05)
    await connection.jetstream().add_stream(name="A", subjects=["a"])
    await supervisor.nats.wipe()

    async def streams() -> list[object] | None:
        return list(await connection.jsm().streams_info())

    async def empty() -> bool:
        return await streams() == []

    await wait_until(empty, ignore=(nats_client.errors.Error, asyncio.TimeoutError, OSError))
    await connection.close()


@pytest.mark.crash
async def test_a_killed_service_comes_back(supervisor: Supervisor) -> None:
    worker = supervisor.processes["worker"]
    pid = worker.pid
    await supervisor.kill("worker")
    await wait_until(lambda: worker.ready and worker.pid != pid)
    pid = worker.pid
    await supervisor.restart("worker")
    assert worker.ready
    assert worker.pid != pid


async def test_a_changed_module_restarts_worker_and_gateway_alone(supervisor: Supervisor, project: Path) -> None:
    pids = {name: process.pid for name, process in supervisor.processes.items()}
    (project / "agents.py").write_text("x = 12345")
    for name in ("worker", "gateway"):
        process = supervisor.processes[name]
        await wait_until(lambda process=process, name=name: process.ready and process.pid != pids[name])  # type: ignore[misc]
    assert supervisor.processes["coordinator"].pid == pids["coordinator"]
    assert supervisor.processes["audit"].pid == pids["audit"]


async def test_unknown_names_are_refused(supervisor: Supervisor) -> None:
    with pytest.raises(BadInput, match="no process 'wrker'; there are coordinator, worker"):
        await supervisor.kill("wrker")


async def test_a_second_one_on_the_same_files_is_refused(supervisor: Supervisor) -> None:
    with pytest.raises(Misconfigured, match="WAYPOST_DATA_DIR"):
        await Supervisor(supervisor.options).__aenter__()
    assert all(process.ready for process in supervisor.processes.values())


async def test_ports_stay_over_a_restart_of_everything(project: Path, server_dir: Path) -> None:
    options = DevOptions(data_dir=server_dir / "dev-again")
    async with Supervisor(options) as first:
        environment = first.environment
    async with Supervisor(options) as second:
        assert second.environment == environment
        assert list(second.processes) == ["coordinator", "audit"]


async def test_servers_from_outside_are_used_and_left_alone(project: Path, nats_url: str, postgres_url: str, server_dir: Path) -> None:
    options = DevOptions(data_dir=server_dir / "dev-outside", nats_url=nats_url, postgres_url=postgres_url)
    async with Supervisor(options) as supervisor:
        assert supervisor.nats is None
        assert supervisor.postgres is None
        with pytest.raises(BadInput, match="nats is not embedded"):
            await supervisor.kill("nats")
    connection = await asyncpg.connect(postgres_url)
    await connection.close()


async def test_a_service_that_cannot_start_ends_the_start_with_its_log(
    project: Path, server_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "waypost_stand_in.py").write_text("raise SystemExit('no such luck')")
    supervisor = Supervisor(DevOptions(data_dir=server_dir / "dev-broken"))
    with pytest.raises(Exception, match=r"(?s)before it was ready:.*no such luck"):
        await supervisor.__aenter__()
    assert supervisor.nats is not None
    assert not supervisor.nats.running


async def test_leaving_while_starting_ends_everything(project: Path, server_dir: Path) -> None:
    (project.parent / "waypost_stand_in.py").write_text("import time\ntime.sleep(600)")
    supervisor = Supervisor(DevOptions(data_dir=server_dir / "dev-cancelled"))
    entering = asyncio.create_task(supervisor.__aenter__())
    await wait_until(lambda: len(supervisor.processes) == 2 and all(p.running for p in supervisor.processes.values()))
    entering.cancel()
    await asyncio.wait([entering])
    assert entering.cancelled()
    assert not any(process.running for process in supervisor.processes.values())
    assert supervisor.postgres is not None
    assert not supervisor.postgres.running


async def test_a_missing_module_is_named_before_anything_starts(project: Path, server_dir: Path) -> None:
    data_dir = server_dir / "dev-missing"
    with pytest.raises(Misconfigured, match=r"nowhere\.py"):
        await Supervisor(DevOptions(modules=("nowhere.py",), data_dir=data_dir)).__aenter__()
    assert not data_dir.exists()


def test_this_python_runs_the_services() -> None:
    assert dev_options.service_specs(DevOptions(), "nats://n:1", "postgresql://p/d")[0].command[0] == sys.executable
