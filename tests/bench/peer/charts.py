"""Bar charts of the comparison as plain SVG, on a logarithmic or a linear scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from tests.bench.peer import report as figures
from tests.bench.peer.contenders import AGENT, FLOOR, LANGGRAPH, SPREAD, STRICT, WAYPOST
from tests.bench.peer.plan import PeerReport

PICTURES = Path(__file__).resolve().parents[3] / "docs" / "pictures"
COLOURS = {
    WAYPOST: "#1f6feb",
    STRICT: "#79b0f5",
    LANGGRAPH: "#bf5b17",
    SPREAD: "#f0a35e",
    AGENT: "#8a3d0f",
    FLOOR: "#9aa0a6",
}
WIDTH, HEIGHT = 860, 340
LEFT, RIGHT, TOP, BOTTOM = 20, 20, 74, 34
GAP = 0.25
"""Of a group's width, between it and the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Groups of bars: one value for each series in each group."""

    file: str
    title: str
    groups: Sequence[str]
    series: dict[str, Sequence[float]]
    digits: int = 0
    logarithmic: bool = False


def charts(found: PeerReport) -> list[Chart]:
    """Speed, latency, cost."""
    levels = [level.at_once for level in found.plan.levels]
    at_levels = [figures.in_flight(at_once) for at_once in levels]

    def series(at: list[int], value: figures.Value) -> dict[str, Sequence[float]]:
        return {side.name: [figures.median(side, at_once, value) for at_once in at] for side in found.sides}

    costs = figures.cost_levels(found)
    return [
        Chart(
            file="peer-steps.svg",
            title="Steps per second (more is better)",
            groups=at_levels,
            series=series(levels, figures.steps_per_second),
        ),
        Chart(
            file="peer-latency.svg",
            title=f"Latency of a run of {found.plan.steps} steps, p50, ms, logarithmic (less is better)",
            groups=at_levels,
            series=series(levels, figures.latency(0.5)),
            logarithmic=True,
        ),
        Chart(
            file="peer-cpu.svg",
            title="CPU ms per step, servers included (less is better)",
            groups=[figures.in_flight(at_once) for at_once in costs],
            series=series(costs, figures.all_cpu_ms),
            digits=2,
        ),
    ]


def write(found: PeerReport, folder: Path = PICTURES) -> dict[str, str]:
    """Draw them; their titles by path from `docs/`."""
    drawn = charts(found)
    for chart in drawn:
        (folder / chart.file).write_text(svg(chart), encoding="utf-8")
    return {f"pictures/{chart.file}": chart.title for chart in drawn}


def svg(chart: Chart) -> str:
    """One chart; on white, so that it can be read on any page."""
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
            f'font-family="sans-serif" font-size="12" fill="#24292f">'
        ),
        f"<title>{escape(chart.title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="16" font-weight="bold">{escape(chart.title)}</text>',
    ]
    for number, name in enumerate(chart.series):
        left = LEFT + number * 160
        parts.append(f'<rect x="{left}" y="42" width="12" height="12" fill="{COLOURS.get(name, "#57606a")}"/>')
        parts.append(f'<text x="{left + 18}" y="52">{escape(name)}</text>')
    floor_y = HEIGHT - BOTTOM
    group_width = (WIDTH - LEFT - RIGHT) / len(chart.groups)
    bar_width = group_width * (1 - GAP) / len(chart.series)
    heights = _heights(chart)
    for index, group in enumerate(chart.groups):
        begin = LEFT + index * group_width + group_width * GAP / 2
        for number, (name, values) in enumerate(chart.series.items()):
            x, height = begin + number * bar_width, heights[name][index]
            parts.append(
                f'<rect x="{x:.1f}" y="{floor_y - height:.1f}" width="{bar_width - 2:.1f}" height="{height:.1f}" '
                f'fill="{COLOURS.get(name, "#57606a")}"/>'
            )
            parts.append(
                f'<text x="{x + bar_width / 2 - 1:.1f}" y="{floor_y - height - 4:.1f}" font-size="9" text-anchor="middle">'
                f"{_short(values[index], chart.digits)}</text>"
            )
        parts.append(f'<text x="{begin + group_width * (1 - GAP) / 2:.1f}" y="{floor_y + 18}" text-anchor="middle">{escape(group)}</text>')
    parts.append(f'<line x1="{LEFT}" y1="{floor_y}" x2="{WIDTH - RIGHT}" y2="{floor_y}" stroke="#24292f"/>')
    return "\n".join([*parts, "</svg>", ""])


def _short(value: float, digits: int) -> str:
    return f"{value / 1_000:.0f}k" if value >= 10_000 else f"{value:,.{digits}f}"


def _heights(chart: Chart) -> dict[str, list[float]]:
    room = HEIGHT - TOP - BOTTOM - 10
    whole = [value for values in chart.series.values() for value in values]
    if chart.logarithmic:
        least = min(value for value in whole if value > 0) / 2  # so that the smallest bar can be seen
        scale = math.log(max(whole) / least)
        return {name: [room * math.log(max(value, least) / least) / scale for value in values] for name, values in chart.series.items()}
    most = max(whole) or 1.0
    return {name: [room * value / most for value in values] for name, values in chart.series.items()}
