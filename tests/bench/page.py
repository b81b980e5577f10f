"""`docs/benchmarks.md`: the words are written by hand, the figures between marks by `python -m tests.bench` with `--write-docs`."""

from __future__ import annotations

from pathlib import Path

from tests.bench.plan import Report
from tests.bench.report import as_markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN = "<!-- figures: python -m tests.bench --write-docs -->"
END = "<!-- end of figures -->"
PEER_BEGIN = "<!-- figures: python -m tests.bench peer --write-docs -->"
PEER_END = "<!-- end of the peer's figures -->"


def write(report: Report, path: Path = PAGE) -> None:
    """Replace the figures. Raises `ValueError` when the page has lost its marks."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), as_markdown(report)), encoding="utf-8")


def replaced(text: str, figures: str, marks: tuple[str, str] = (BEGIN, END)) -> str:
    """The page's text with these figures between the marks. Raises `ValueError`."""
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"the page has no place for figures: put the lines {marks[0]!r} and {marks[1]!r} into it")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"
