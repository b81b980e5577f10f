"""The comparison for people: a table of all sides, as text and as Markdown. Medians over rounds, ratios of neighbours."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from tests.bench.peer.contenders import AGENT, FLOOR, LANGGRAPH, SPREAD, WAYPOST
from tests.bench.peer.plan import Cell, PeerReport, Side
from tests.bench.report import Row, aligned, markdown, percentile

Value = Callable[[Cell], float]
RATED = (LANGGRAPH, SPREAD, AGENT, FLOOR)
"""Waypost is divided by these."""
SERVERS = ("nats", "postgres")


def rows(report: PeerReport) -> list[Row]:
    """A column for each side, then Waypost through the others."""
    sides = report.sides
    rated = [side.name for side in sides if side.name in RATED]
    found: list[Row] = [("", *(side.name for side in sides), *(f"{WAYPOST} / {name}" for name in rated))]

    def add(label: str, at_once: int, value: Value, digits: int) -> None:
        medians = (median(side, at_once, value) for side in sides)
        ratios = (ratio(report, name, at_once, value) for name in rated)
        found.append((label, *(_number(each, digits) for each in medians), *(_number(each, 2) for each in ratios)))

    levels = [level.at_once for level in report.plan.levels]
    for at_once in levels:
        add(f"steps/s, {in_flight(at_once)}", at_once, steps_per_second, 0)
    for fraction in (0.5, 0.99):
        for at_once in levels:
            add(f"run latency p{100 * fraction:.0f} ms, {in_flight(at_once)}", at_once, latency(fraction), 1)
    for at_once in cost_levels(report):
        for label, value, digits in _costs():
            add(f"{label}, {in_flight(at_once)}", at_once, value, digits)
    found.extend(_memory(sides, len(rated)))
    return found


def in_flight(at_once: int) -> str:
    return "one run at a time" if at_once == 1 else f"{at_once} in flight"


def cost_levels(report: PeerReport) -> list[int]:
    """Costs are shown where they differ most: alone, and where commits are shared (64 in flight, or the next to it)."""
    levels = [level.at_once for level in report.plan.levels]
    return sorted({min(levels), min(levels, key=lambda at_once: abs(at_once - 64))})


def steps_per_second(cell: Cell) -> float:
    return cell.steps_per_second


def latency(fraction: float) -> Value:
    """This percentile of a round's runs, in ms."""
    return lambda cell: percentile(cell.latencies_ms, fraction)


def own_cpu_ms(cell: Cell) -> float:
    """Per step, without the servers."""
    return sum(value for name, value in cell.per_step.cpu_ms.items() if name not in SERVERS)


def all_cpu_ms(cell: Cell) -> float:
    """Per step, servers included."""
    return sum(cell.per_step.cpu_ms.values())


def server_cpu_ms(server: str) -> Value:
    """Per step, of one server."""
    return lambda cell: cell.per_step.cpu_ms.get(server, 0.0)


def _costs() -> Iterator[tuple[str, Value, int]]:
    yield "CPU ms per step, own processes", own_cpu_ms, 2
    yield "CPU ms per step, NATS", server_cpu_ms("nats"), 2
    yield "CPU ms per step, Postgres", server_cpu_ms("postgres"), 2
    yield "CPU ms per step, all of them", all_cpu_ms, 2
    yield "Postgres WAL bytes per step", lambda cell: cell.per_step.wal_bytes, 0
    yield "Postgres commits per step", lambda cell: cell.per_step.transactions, 2
    yield "JetStream bytes written per step", lambda cell: cell.per_step.nats_disk_bytes, 0


def median(side: Side, at_once: int, value: Value) -> float:
    """Over the rounds of one side at one level."""
    return statistics.median(map(value, side.cells[at_once]))


def ratio(report: PeerReport, name: str, at_once: int, value: Value) -> float | None:
    """Waypost through another side: the median over the rounds that both have, each divided within itself. None where there is none."""
    by_name = {side.name: side.cells[at_once] for side in report.sides}
    if WAYPOST not in by_name or name not in by_name:
        return None
    pairs = [(value(ours), value(theirs)) for ours, theirs in zip(by_name[WAYPOST], by_name[name], strict=False)]
    return statistics.median(ours / theirs for ours, theirs in pairs) if all(theirs for _, theirs in pairs) else None


def _memory(sides: list[Side], rated: int) -> list[Row]:
    blank = ("",) * rated
    own = [[size for name, size in side.resident_mib.items() if name not in SERVERS] for side in sides]
    return [
        ("own processes", *(str(len(sizes)) for sizes in own), *blank),
        ("resident MiB of them, after the load", *(_number(sum(sizes), 0) for sizes in own), *blank),
        ("resident MiB of NATS, after the load", *(_number(side.resident_mib.get("nats"), 0) for side in sides), *blank),
    ]


def _number(value: float | None, digits: int) -> str:
    return "–" if not value else f"{value:,.{digits}f}"


def facts(report: PeerReport) -> list[str]:
    """What stands below the table."""
    loads = [cell.load for side in report.sides for cells in side.cells.values() for cell in cells]
    spread = [_spread(side, at_once) for side in report.sides if side.name in (WAYPOST, SPREAD) for at_once in cost_levels(report)]
    return [
        *_in_short(report),
        f"Load average of the machine, on {report.machine.cores} cores: {min(loads):.1f} to {max(loads):.1f}; the bench itself is in it.",
        f"Steps/s of single rounds: {'; '.join(spread)}.",
        f"All of it took {report.seconds:.0f} s.{_fewer_rounds(report)}",
    ]


def _in_short(report: PeerReport) -> Iterator[str]:
    alone, crowded = (function(cost_levels(report)) for function in (min, max))
    for name in RATED:
        steps = ratio(report, name, crowded, steps_per_second)
        cpu = ratio(report, name, crowded, all_cpu_ms)
        p50 = ratio(report, name, alone, latency(0.5))
        if steps and cpu and p50:
            yield (
                f"{WAYPOST} through {name}: {steps:.2f} of its steps/s and {cpu:.2f} of its CPU per step, {in_flight(crowded)}; "
                f"{p50:.2f} of its run latency (p50), {in_flight(alone)}."
            )


def _fewer_rounds(report: PeerReport) -> str:
    fewer = [
        f"{side.name}, {in_flight(at_once)} ({len(cells)})"
        for side in report.sides
        for at_once, cells in side.cells.items()
        if len(cells) < report.plan.rounds
    ]
    return f" Too slow to be measured in every round: {'; '.join(fewer)}." if fewer else ""


def _spread(side: Side, at_once: int) -> str:
    each = sorted(cell.steps_per_second for cell in side.cells[at_once])
    return f"{side.name}, {in_flight(at_once)}, {each[0]:,.0f} to {each[-1]:,.0f}"


def as_text(report: PeerReport) -> str:
    """For a terminal."""
    return "\n\n".join([aligned(rows(report)), "\n".join(facts(report))])


def as_markdown(report: PeerReport, pictures: dict[str, str]) -> str:
    """For `docs/benchmarks.md`; `pictures` are titles by path from there."""
    machine, plan = report.machine, report.plan
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    levels = ", ".join(f"{level.runs} at {level.at_once}" for level in plan.levels)
    measured = (
        f"Measured {machine.date} on {machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}; {versions}. "
        f"{plan.rounds} rounds; in each, at each number in flight, every side in turn. Runs of {plan.steps} steps: {levels} in flight. "
        "Medians of the rounds; ratios are medians of the rounds' own ratios."
    )
    shown = "\n\n".join(f"![{title}]({path})" for path, title in pictures.items())
    return "\n\n".join([measured, markdown(rows(report)), "\n".join(f"- {fact}" for fact in facts(report)), shown])
