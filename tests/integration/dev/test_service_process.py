"""One supervised process, with a small stand-in for a service."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.waiting import wait_until
from waypost_cli.dev.notices import Notice
from waypost_cli.dev.service import ServiceProcess, ServiceSpec
from waypost_io.servers import NotReady, free_port

STAND_IN = """
import os
from waypost_io.lifecycle import run_service
from waypost_io.ops import OpsServer

async def serve(stop):
    {body}
    async with OpsServer(os.environ["WAYPOST_OPS_ADDR"]):
        await stop.wait()

raise SystemExit(run_service("stand-in", serve))
"""


@pytest.fixture
def seen() -> list[Notice]:
    return []


def _service(tmp_path: Path, seen: list[Notice], body: str = "pass") -> ServiceProcess:
    port = free_port()
    spec = ServiceSpec(
        name="stand-in",
        command=(sys.executable, "-c", STAND_IN.format(body=body)),
        ops_port=port,
        log_path=tmp_path / "stand-in.log",
        environment={**os.environ, "WAYPOST_OPS_ADDR": f"127.0.0.1:{port}"},
    )
    return ServiceProcess(spec, seen.append)


@contextlib.asynccontextmanager
async def _running(service: ServiceProcess) -> AsyncIterator[None]:
    task = asyncio.create_task(service.run())
    try:
        await service.wait_ready()
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.crash
async def test_comes_back_after_a_kill_and_says_so(tmp_path: Path, seen: list[Notice]) -> None:
    service = _service(tmp_path, seen)
    async with _running(service):
        first = service.pid
        await service.kill()
        await wait_until(lambda: service.ready and service.pid != first)
        assert service.restarts == 1
    assert not service.running
    assert [notice.what for notice in seen] == ["starting", "ready", "killed", "ended", "starting", "ready", "stopped"]
    assert "killed by signal 9" in seen[3].detail


async def test_a_kill_from_outside_is_noticed(tmp_path: Path, seen: list[Notice]) -> None:
    service = _service(tmp_path, seen)
    async with _running(service):
        first = service.pid
        os.kill(first, signal.SIGKILL)
        await wait_until(lambda: service.ready and service.pid != first)


async def test_a_restart_is_no_crash(tmp_path: Path, seen: list[Notice]) -> None:
    service = _service(tmp_path, seen)
    async with _running(service):
        first = service.pid
        await service.restart("agents.py changed")
        await service.wait_ready()
        assert service.pid != first
        assert service.restarts == 0
    assert "ended" not in [notice.what for notice in seen]


async def test_memory_is_measured(tmp_path: Path, seen: list[Notice]) -> None:
    service = _service(tmp_path, seen)
    assert service.resident_bytes() == 0
    async with _running(service):
        assert 5 << 20 < service.resident_bytes() < 80 << 20


async def test_bad_settings_end_the_first_start_at_once(tmp_path: Path, seen: list[Notice]) -> None:
    body = "from waypost_proto.errors import Misconfigured; raise Misconfigured('WAYPOST_X=1: use 2')"
    service = _service(tmp_path, seen, body)
    with pytest.raises(NotReady, match=r"code 2 before it was ready[\s\S]*WAYPOST_X=1: use 2"):
        await service.run()
    assert [notice.what for notice in seen] == ["starting"]


async def test_a_service_that_cannot_start_is_given_up(tmp_path: Path, seen: list[Notice]) -> None:
    service = _service(tmp_path, seen, "raise KeyError('the reason')")
    with pytest.raises(NotReady, match="the reason"):
        await service.run()
    assert [notice.what for notice in seen].count("starting") == 3


async def test_waiting_for_what_never_comes_ends(tmp_path: Path, seen: list[Notice]) -> None:
    with pytest.raises(NotReady, match=r"stand-in was not ready within 0 s"):
        await _service(tmp_path, seen).wait_ready(0)


async def test_code_that_breaks_in_the_middle_of_an_edit_is_waited_for(tmp_path: Path, seen: list[Notice]) -> None:
    flag = tmp_path / "broken"
    body = f"from waypost_proto.errors import Misconfigured\n    if os.path.exists({str(flag)!r}): raise Misconfigured('not Python')"
    service = _service(tmp_path, seen, body)
    async with _running(service):
        first = service.pid
        flag.touch()
        await service.restart("agents.py changed")
        await wait_until(lambda: any(notice.what == "ended" and "exit code 2" in notice.detail for notice in seen))
        flag.unlink()
        await service.restart("agents.py changed")
        await service.wait_ready()
        assert service.pid != first
