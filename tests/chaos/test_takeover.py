"""The measurement of take-overs: what counts as a gap, and that the command measures and writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.takeover import report
from tests.chaos.takeover.__main__ import main
from tests.chaos.takeover.measure import Gaps
from tests.chaos.takeover.watching import longest_gap


@pytest.mark.parametrize(
    ("times", "gap"),
    [
        ([], 10.0),
        ([1.0, 9.5, 10.5, 11.0, 19.5], 8.5),
        ([9.0, 13.0, 14.0], 6.0),  # not over at the end
        ([5.0, 13.0, 19.0], 8.0),  # it began before the trouble, and lasted into it
        ([1.0, 6.0, 11.0, 12.0, 19.0], 7.0),  # 1 to 6 is none of ours, nor is what comes later
        ([9.9, 10.1, 19.9, 50.0], 9.8),
    ],
)
def test_the_longest_gap_lies_at_least_in_part_in_the_time_of_trouble(times: list[float], gap: float) -> None:
    assert longest_gap(reversed(times), 10.0, 20.0) == pytest.approx(gap)


def found() -> list[Gaps]:
    seconds = [0.2, 3.0, 1.0, 4.0]
    return [
        Gaps(what=("nothing", "kill -9")[n % 2], whom=("", "worker")[n % 2], of_a_run=at, of_all=at / 2, steps=5, bad=n // 3)
        for n, at in enumerate(seconds)
    ]


def test_the_table_has_a_line_for_each_trouble() -> None:
    assert report.rows(found()) == [
        ("nothing", "", "0.60", "1.00", "0.30", "0.50", "0"),
        ("kill -9", "worker", "3.50", "4.00", "1.75", "2.00", "1"),
    ]
    assert "kill -9  worker" in report.as_text(found())


def test_the_page_gets_the_figures_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{report.MARKS[0]}\nold\n{report.MARKS[1]}\nafter\n")
    report.write(found(), rounds=2, runs=12, path=page)
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| kill -9 | worker | 3.50 | 4.00 |" in text
    assert "2 rounds, 12 runs in flight" in text


def test_a_trouble_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "earthquake"]) == 2
    assert "kill -9 worker" in capsys.readouterr().err
