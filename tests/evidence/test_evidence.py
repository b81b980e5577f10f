"""Sums over tallies, from made-up lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.page import replaced
from tests.bench.plan import Machine
from tests.evidence.__main__ import MARKS, PAGE, main
from tests.evidence.report import as_markdown
from tests.evidence.tallies import read

MACHINE = Machine(date="today", cpu="a CPU", cores=2, memory_gib=4, system="Linux", versions={"waypost": "1"})
STORM = (
    '{"date":"2026-01-02T01:00:00","commit":"c","seed":1,"seconds":1800.0,"runs":7,"effects":5,"holds":2,'
    '"faults":{"kill":3},"violations":[]}'
)
BROKEN = STORM.replace('"violations":[]', '"violations":["two effects"]').replace('{"kill":3}', '{"kill":1,"freeze":4}')
SEEDS = '{"date":"2026-01-01T01:00:00Z","commit":"c","seeds":40,"struck":{"KILLED":9},"violations":2,"failed_seeds":[17]}'
PROGRAMS = (
    '{"date":"2026-01-03","commit":"c","property":"crashes","python":"3.12","examples":10,'
    '"lives":20,"crash_points":30,"failures":0,"events":1}'
)


def tally(folder: Path, *lines: str) -> Path:
    path = folder / "tally.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_lines_of_all_three_kinds_are_added_up(tmp_path: Path) -> None:
    text = as_markdown(read([tally(tmp_path, STORM, BROKEN, SEEDS, PROGRAMS)]), MACHINE)

    assert "Runs of 2026-01-01 to 2026-01-03" in text
    assert "40 deployments, each under a seed of its own; 1 of them broke" in text
    assert "| killed | 9 |" in text
    assert "2 rounds, 1.0 hours, 14 runs, 10 effects counted by the provider, 4 confirmed pauses and cancels judged; 1 rounds broke" in text
    assert text.index("| kill | 4 |") < text.index("Random programs")
    assert "| freeze | 4 |" in text
    assert "10 programs on Python 3.12, 20 lives, 30 crash points; 0 failures" in text


@pytest.mark.parametrize("line", ["{", '{"date":"x"}', '{"faults":1}', "3"])
def test_what_is_no_tally_is_named(tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tally(tmp_path, SEEDS, line))]) == 2
    assert "tally.jsonl:2: not a tally's line" in capsys.readouterr().err


def test_no_line_and_no_file_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tally(tmp_path))]) == 2
    assert "--tally FILE" in capsys.readouterr().err
    assert main([str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_the_page_has_a_place_for_it() -> None:
    assert "so it was" in replaced(PAGE.read_text(encoding="utf-8"), "so it was", MARKS)
