from __future__ import annotations

from pathlib import Path

import pytest

from waypost_cli.dev import logtail
from waypost_cli.dev.logtail import LogFollower


def test_complete_lines_are_handed_on_once(tmp_path: Path) -> None:
    log, seen = tmp_path / "worker.log", []
    log.write_text("from before\n")
    follower = LogFollower({"worker": log}, lambda name, line: seen.append((name, line)))
    with log.open("a") as file:
        file.write("one\ntw")
        file.flush()
        follower.poll()
        file.write("o\n")
        file.flush()
        follower.poll()
    follower.poll()
    assert seen == [("worker", "one"), ("worker", "two")]


def test_a_file_that_comes_later_or_starts_over_is_followed(tmp_path: Path) -> None:
    log, seen = tmp_path / "worker.log", []
    follower = LogFollower({"worker": log}, lambda _name, line: seen.append(line))
    follower.poll()
    log.write_text("a first line\n")
    follower.poll()
    log.write_text("short\n")
    follower.poll()
    assert seen == ["a first line", "short"]


def test_a_file_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logtail, "MAX_LOG_BYTES", 100)
    log, seen = tmp_path / "worker.log", []
    follower = LogFollower({"worker": log}, lambda _name, line: seen.append(line))
    for number in range(50):
        with log.open("a") as file:
            file.write(f"line {number}\n")
        follower.poll()
    assert seen == [f"line {number}" for number in range(50)]
    assert log.stat().st_size <= 120


def test_a_line_longer_than_a_chunk_keeps_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logtail, "CHUNK_BYTES", 10)
    log, seen = tmp_path / "worker.log", []
    follower = LogFollower({"worker": log}, lambda _name, line: seen.append(line))
    log.write_text("x" * 95 + "end\nnext\n")
    follower.poll()
    assert seen[0].endswith("end")
    assert seen[1] == "next"
