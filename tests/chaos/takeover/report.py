"""The figures as a table, for the terminal and for `docs/replicas.md`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import median

from tests.bench.machine import describe
from tests.bench.page import replaced
from tests.chaos.takeover.measure import Gaps

PAGE = Path(__file__).resolve().parents[3] / "docs" / "replicas.md"
MARKS = ("<!-- figures: python -m tests.chaos.takeover --write-docs -->", "<!-- end of figures -->")
HEAD = ("what", "to one", "a run: median s", "a run: max s", "all: median s", "all: max s", "failed runs")


def rows(found: Sequence[Gaps]) -> list[tuple[str, ...]]:
    """A line for each trouble, in the order in which they were first measured."""
    order = list(dict.fromkeys((gaps.what, gaps.whom) for gaps in found))
    grouped = groupby(sorted(found, key=lambda gaps: order.index((gaps.what, gaps.whom))), key=lambda gaps: (gaps.what, gaps.whom))
    return [(*key, *_figures(list(group))) for key, group in grouped]


def _figures(group: Sequence[Gaps]) -> tuple[str, ...]:
    of_a_run = [gaps.of_a_run for gaps in group]
    of_all = [gaps.of_all for gaps in group]
    seconds = (median(of_a_run), max(of_a_run), median(of_all), max(of_all))
    return (*(f"{value:.2f}" for value in seconds), str(sum(gaps.bad for gaps in group)))


def as_text(found: Sequence[Gaps]) -> str:
    """For a terminal."""
    table = [HEAD, *rows(found)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table)


def as_markdown(found: Sequence[Gaps], *, rounds: int, runs: int) -> str:
    """For the page: what was measured on what, and the table."""
    machine = describe()
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    measured = f"Measured {machine.date}: {rounds} rounds, {runs} runs in flight, two of each service"
    lines = [
        f"{measured}; {machine.cores} cores ({machine.cpu}), {machine.memory_gib:g} GiB, {machine.system}; {versions}.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *("| " + " | ".join(line) + " |" for line in rows(found)),
    ]
    return "\n".join(lines)


def write(found: Sequence[Gaps], *, rounds: int, runs: int, path: Path = PAGE) -> None:
    """Replace the figures. Raises `ValueError` when the page has lost its marks."""
    figures = as_markdown(found, rounds=rounds, runs=runs)
    path.write_text(replaced(path.read_text(encoding="utf-8"), figures, MARKS), encoding="utf-8")
