from __future__ import annotations

import os
from pathlib import Path

import pytest

from waypost_io.servers import Running, claimed, find_running, last_known, publish
from waypost_proto.errors import Misconfigured


def _running(pid: int = 0) -> Running:
    return Running(pid=pid or os.getpid(), nats_url="nats://n:1", postgres_url="postgresql://u:p@h/db", prefix="waypost")


def test_found_while_it_runs_and_is_ready(tmp_path: Path) -> None:
    assert find_running(tmp_path) is None
    with claimed(tmp_path):
        publish(tmp_path, _running(pid=1))  # of a predecessor
        assert find_running(tmp_path) is None
        publish(tmp_path, _running())
        assert find_running(tmp_path) == _running()
    assert find_running(tmp_path) is None
    assert last_known(tmp_path) == _running()


def test_one_at_a_time(tmp_path: Path) -> None:
    with claimed(tmp_path):
        publish(tmp_path, _running())
        with pytest.raises(Misconfigured, match=rf"pid {os.getpid()}\) uses .*WAYPOST_DATA_DIR"), claimed(tmp_path):
            pass
    with claimed(tmp_path):
        pass


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    publish(tmp_path, _running())
    assert (tmp_path / "dev.json").stat().st_mode & 0o077 == 0


def test_a_broken_file_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "dev.json").write_text('{"pid": 1')
    assert last_known(tmp_path) is None


def test_the_environment_lets_a_command_talk_to_it() -> None:
    assert _running().environment == {
        "WAYPOST_NATS_URL": "nats://n:1",
        "WAYPOST_POSTGRES_URL": "postgresql://u:p@h/db",
        "WAYPOST_PREFIX": "waypost",
    }
