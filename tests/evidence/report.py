"""The evidence as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from tests.bench.plan import Machine
from tests.evidence.tallies import Evidence


def as_markdown(found: Evidence, machine: Machine) -> str:
    """For `docs/guarantees.md`."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    days = found.first if found.first == found.last else f"{found.first} to {found.last}"
    head = (
        f"Runs of {days}, written down {machine.date} on {machine.cpu}, {machine.cores} cores, {machine.system}; {versions}. "
        "Everything that was tried is counted, also what failed: see [what is known to be open](#what-is-known-to-be-open)."
    )
    return "\n\n".join([head, *_parts(found)])


def _parts(found: Evidence) -> Iterator[str]:
    if found.simulated:
        seeds, failed = sum(line.seeds for line in found.simulated), sum(len(line.failed_seeds) for line in found.simulated)
        yield f"**Simulation**: {seeds:,} deployments, each under a seed of its own; {failed:,} of them broke an invariant."
        yield table(found.struck(), "simulated fault")
    if found.storms:
        hours = sum(line.seconds for line in found.storms) / 3600
        runs, effects, holds = (sum(getattr(line, name) for line in found.storms) for name in ("runs", "effects", "holds"))
        broken = sum(bool(line.violations) for line in found.storms)
        yield (
            f"**Storms on real processes**: {len(found.storms):,} rounds, {hours:.1f} hours, {runs:,} runs, {effects:,} effects "
            f"counted by the provider, {holds:,} confirmed pauses and cancels judged; {broken:,} rounds broke a check."
        )
        yield table(found.faults(), "fault")
    if found.programs:
        pythons = sorted({line.python for line in found.programs})
        examples, lives, crashes, failures = (
            sum(getattr(line, name) for line in found.programs) for name in ("examples", "lives", "crash_points", "failures")
        )
        yield (
            f"**Random programs**: {examples:,} programs on Python {', '.join(pythons)}, {lives:,} lives, {crashes:,} crash points; "
            f"{failures:,} failures."
        )


def table(counted: Counter[str], title: str) -> str:
    """Kinds and how often each struck, the most frequent first, in two columns."""
    rows = [f"| {title} | times |", "| --- | ---: |"]
    rows += [f"| {name.lower()} | {times:,} |" for name, times in counted.most_common()]
    return "\n".join(rows)
