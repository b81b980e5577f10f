"""`docs/benchmarks.md`: the words are written by hand, the figures between two marks by `python -m tests.bench --write-docs`."""

from __future__ import annotations

from pathlib import Path

from tests.bench.plan import Report
from tests.bench.report import as_markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
BEGIN = "<!-- figures: python -m tests.bench --write-docs -->"
END = "<!-- end of figures -->"


def write(report: Report, path: Path = PAGE) -> None:
    """Replace the figures. Raises `ValueError` when the page has lost its marks."""
    path.write_text(replaced(path.read_text(encoding="utf-8"), as_markdown(report)), encoding="utf-8")


def replaced(text: str, figures: str) -> str:
    """The page's text with these figures between its marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for figures: put the lines {BEGIN!r} and {END!r} into it")
    return f"{before}{BEGIN}\n\n{figures}\n\n{END}{after}"
