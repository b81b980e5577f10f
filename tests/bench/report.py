"""The figures for people: a table of both sides with ratios, as text and as Markdown. Medians over rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from functools import partial

from tests.bench.plan import Report, Round

Row = tuple[str, ...]


def sides(report: Report) -> list[Row]:
    """Waypost beside the floor: medians of the rounds, percentiles over all runs of all rounds.

    The ratio is Waypost through floor, the median over pairs of rounds: two that follow each other met the same load.
    """
    rows: list[Row] = [("", "Waypost", "floor", "ratio")]

    def add(label: str, value: Callable[[Round], float], digits: int = 2) -> None:
        ours, floor = (list(map(value, rounds)) for rounds in (report.waypost, report.floor))
        ratios = [mine / least for mine, least in zip(ours, floor, strict=True) if least]
        medians = (f"{statistics.median(values):,.{digits}f}" for values in (ours, floor))
        rows.append((label, *medians, f"{statistics.median(ratios):.2f}" if ratios else "-"))

    plan = report.plan
    add(f"steps/s, {plan.in_flight} runs in flight", lambda found: found.steps_per_second, 0)
    for fraction in (0.5, 0.99):
        ours, floor = (
            percentile([ms for found in rounds for ms in found.latencies_ms], fraction) for rounds in (report.waypost, report.floor)
        )
        label = f"a run of {plan.steps} steps alone, p{100 * fraction:.0f} ms"
        rows.append((label, f"{ours:.1f}", f"{floor:.1f}", f"{ours / floor:.2f}"))
    for name in report.waypost[0].per_step.cpu_ms:
        add(f"CPU ms per step, {name}", partial(_cpu_ms, name))
    add("CPU ms per step, all of them", lambda found: sum(found.per_step.cpu_ms.values()))
    for name in report.waypost[0].per_step.cpu_ms:
        add(f"CPU ms per step alone, {name}", partial(_cpu_ms_alone, name))
    add("CPU ms per step alone, all of them", lambda found: sum(found.sequential_per_step.cpu_ms.values()))
    add("NATS messages in and out per step", lambda found: found.per_step.nats_messages, 1)
    add("Postgres WAL bytes per step", lambda found: found.per_step.wal_bytes, 0)
    add("Postgres commits per step", lambda found: found.per_step.transactions)
    add("bytes that NATS wrote to disk per step", lambda found: found.per_step.nats_disk_bytes, 0)
    return rows


def _cpu_ms(name: str, found: Round) -> float:
    return found.per_step.cpu_ms[name]


def _cpu_ms_alone(name: str, found: Round) -> float:
    return found.sequential_per_step.cpu_ms[name]


def _latencies(rounds: Sequence[Round]) -> list[float]:
    return [latency for found in rounds for latency in found.latencies_ms]


def idle(report: Report) -> list[Row]:
    """What the services use while there is nothing to do."""
    rows: list[Row] = [("", "idle, resident MiB", "after the load, resident MiB", "idle, CPU ms per second")]
    found = report.idle
    for name, cpu_ms in found.per_second.cpu_ms.items():
        resident = [_mib(sizes.get(name)) for sizes in (found.resident_mib, report.loaded_mib)]
        rows.append((name, *resident, f"{cpu_ms:.1f}"))
    return rows


def _mib(size: float | None) -> str:
    return "" if size is None else f"{size:.0f}"


def facts(report: Report) -> list[str]:
    """What is no comparison."""
    starts = ", ".join(f"{seconds:.1f}" for seconds in report.starts_seconds)
    counted = {name: count for name, count in report.stream_messages.items() if count}
    queues = sum(count for name, count in counted.items() if name != "EVENTS")
    by_stream = ", ".join(f"{name} {count:g}" for name, count in counted.items())
    idle_use = report.idle.per_second
    loads = [found.load for found in (*report.waypost, *report.floor)]
    return [
        f"Messages per step: {queues:g} ({by_stream}).",
        f"Bytes that go into streams per step (subjects, headers, bodies): {report.tape.stream_bytes_per_step:,.0f}.",
        f"Rows per step: {len(report.tape.commits[1]) + len(report.tape.commits[2])} events, in two commits.",
        f"`waypost dev` from the command to everything ready: {starts} s (the first without files).",
        (
            f"Idle, per second over {report.idle.seconds:g} s, heartbeats and leases included: {idle_use.nats_messages:.1f} NATS messages "
            f"in and out, {idle_use.transactions:.1f} Postgres commits."
        ),
        f"Load average of the machine, on {report.machine.cores} cores: {min(loads):.1f} to {max(loads):.1f}.",
    ]


def profile(report: Report) -> list[Row]:
    """Functions by the share of the service's CPU that they spent themselves, in microseconds per step."""
    rows: list[Row] = []
    for service, functions in report.profiles.items():
        cpu_us = 1e3 * statistics.median(found.per_step.cpu_ms[service] for found in report.waypost)
        rows.append((service, "share", "µs per step"))
        rows.extend((name, f"{share:.1%}", f"{share * cpu_us:.0f}") for name, share in functions)
    return rows


def percentile(values: Sequence[float], fraction: float) -> float:
    """The smallest value that this fraction of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))]


def as_text(report: Report) -> str:
    """For a terminal."""
    parts = [aligned(sides(report)), aligned(idle(report)), "\n".join(facts(report))]
    if report.profiles:
        parts.append(aligned(profile(report)))
    return "\n\n".join(parts)


def as_markdown(report: Report) -> str:
    """For `docs/benchmarks.md`: the page's variable part."""
    machine, plan = report.machine, report.plan
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    measured = (
        f"Measured {machine.date} on {machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {machine.system}; {versions}. "
        f"{plan.rounds} rounds of each side in turn, of {plan.runs} runs with {plan.in_flight} in flight and {plan.sequential} one after "
        "another; medians of the rounds, and medians of the ratios of neighbouring rounds."
    )
    return "\n\n".join([measured, markdown(sides(report)), "\n".join(f"- {fact}" for fact in facts(report)), markdown(idle(report))])


def aligned(rows: Sequence[Row]) -> str:
    """Rows in columns, for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (
            cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *rest)))
    return "\n".join(lines)


def markdown(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; the first is its head."""
    head, *body = rows
    rule = ("---", *("---:" for _ in head[1:]))
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *body))
