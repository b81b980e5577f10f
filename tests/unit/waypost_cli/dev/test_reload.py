from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from waypost_cli.dev.reload import snapshot, sources, watch
from waypost_proto.errors import Misconfigured


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "agents.py").write_text("x = 1")
    (tmp_path / "bank.py").write_text("y = 1")
    (tmp_path / "desk" / "deep").mkdir(parents=True)
    (tmp_path / "desk" / "__init__.py").write_text("")
    (tmp_path / "desk" / "deep" / "m.py").write_text("")
    return tmp_path


def test_a_file_is_watched_with_its_neighbours_and_a_package_whole(project: Path) -> None:
    assert {path.name for path in snapshot(sources("agents.py", project))} == {"agents.py", "bank.py"}
    assert {path.name for path in snapshot(sources("agents", project))} == {"agents.py", "bank.py"}
    assert {path.name for path in snapshot(sources("desk", project))} == {"__init__.py", "m.py"}


def test_an_installed_module_is_found(project: Path) -> None:
    assert sources("msgspec.json", project)[0].name == "json.py"


@pytest.mark.parametrize("module", ["nowhere.py", "nowhere", "nowhere.deep", "desk.nowhere"])
def test_what_is_not_there_is_named(project: Path, module: str) -> None:
    with pytest.raises(Misconfigured, match=module):
        sources(module, project)


async def _change_after_start(project: Path, path: Path, text: str | None) -> list[Path]:
    """Start watching, change one file, return what was reported."""
    reported: asyncio.Queue[list[Path]] = asyncio.Queue()
    watching = asyncio.create_task(watch(sources("agents.py", project), reported.put, poll_seconds=0.02))
    await asyncio.sleep(0)  # it has taken its first snapshot
    try:
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
            os.utime(path, ns=(1, 1))
        return await asyncio.wait_for(reported.get(), 20)
    finally:
        watching.cancel()


@pytest.mark.parametrize(("name", "text"), [("agents.py", "x = 2"), ("new.py", "z = 1"), ("bank.py", None)])
async def test_changed_new_and_removed_files_are_reported(project: Path, name: str, text: str | None) -> None:
    assert await _change_after_start(project, project / name, text) == [project / name]


async def test_other_files_are_none_of_its_business(project: Path) -> None:
    (project / "notes.txt").write_text("x")
    assert project / "notes.txt" not in snapshot(sources("agents.py", project))
