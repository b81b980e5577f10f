"""What a storm has done and found: lines while it goes on, a table at its end, JSON, and a tally that is appended to a file."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.chaos.storm.plan import KINDS

ROOT = Path(__file__).resolve().parents[3]


@dataclass(kw_only=True)
class Round:
    """One round: trouble, then healing, then the checks."""

    seed: int
    number: int
    seconds: float = 0.0
    """All of it."""
    healed_seconds: float = 0.0
    """From the end of the trouble until nothing was open any more."""
    orders: int = 0
    runs: int = 0
    """Children included."""
    events: int = 0
    effects: int = 0
    holds: int = 0
    """Confirmed pauses and cancels that were judged."""
    doubts: int = 0
    """Settled by a person."""
    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    """Faults that found nothing to strike."""
    ends: Counter[str] = field(default_factory=Counter)
    """Services that ended by themselves, with their return codes, and servers that were started again."""
    errors: Counter[str] = field(default_factory=Counter)
    """What services logged as errors: worth a look, no violation."""
    violations: list[str] = field(default_factory=list)

    def line(self) -> str:
        """One line."""
        verdict = "ok" if not self.violations else f"FAILED, {len(self.violations)} violations"
        struck = sum(self.faults.values())
        return (
            f"round {self.number}: {struck} faults, {self.orders} orders, {self.runs} runs, {self.events} events, {self.effects} effects, "
            f"healed in {self.healed_seconds:.1f} s: {verdict}"
        )


def commit() -> str:
    """The commit that is checked out, with a + when files differ; "" outside git."""
    try:
        words = ("git", "-C", str(ROOT))
        head = subprocess.run([*words, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*words, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return head + ("+" if changed else "")


def append_tally(path: Path, round_: Round) -> None:
    """One line of JSON for a round."""
    line = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit(), **_plain(round_)}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_tally(path: Path) -> list[Round]:
    """The rounds of a tally. Raises `OSError`, `ValueError`."""
    known = {each.name for each in fields(Round)}
    rounds = []
    for line in path.read_text(encoding="utf-8").splitlines():
        values = {name: value for name, value in json.loads(line).items() if name in known}
        rounds.append(Round(**{name: Counter(value) if isinstance(value, dict) else value for name, value in values.items()}))
    return rounds


def as_json(rounds: list[Round], impossible: dict[str, str], kept: str) -> str:
    """All of it."""
    failed = any(round_.violations for round_ in rounds)
    return json.dumps(
        {"ok": not failed, "commit": commit(), "impossible": impossible, "kept": kept, "rounds": [_plain(r) for r in rounds]}, indent=1
    )


def _plain(round_: Round) -> dict[str, Any]:
    values = {each.name: getattr(round_, each.name) for each in fields(round_)}
    return {name: round(value, 1) if isinstance(value, float) else value for name, value in values.items()}


def table(rounds: list[Round], impossible: dict[str, str]) -> str:
    """How often each fault struck, and what came of it."""
    struck: Counter[str] = sum((round_.faults for round_ in rounds), Counter())
    missed: Counter[str] = sum((round_.missed for round_ in rounds), Counter())
    ends: Counter[str] = sum((round_.ends for round_ in rounds), Counter())
    lines = [f"{'fault':22}{'struck':>7}{'missed':>8}"]
    lines += [f"{kind:22}{struck[kind]:7}{missed[kind]:8}" for kind in KINDS if struck[kind] or missed[kind]]
    lines += [f"not possible here: {kind}: {why}" for kind, why in impossible.items()]
    if ends:
        lines.append("ended or started again by themselves: " + ", ".join(f"{what} ×{count}" for what, count in sorted(ends.items())))
    errors: Counter[str] = sum((round_.errors for round_ in rounds), Counter())
    lines += [f"logged as an error: {what} ×{count}" for what, count in errors.most_common(10)]
    healed = sorted(round_.healed_seconds for round_ in rounds) or [0.0]
    lines.append(
        f"{len(rounds)} rounds, {sum(r.seconds for r in rounds):.0f} s, {sum(struck.values())} faults, "
        f"{sum(r.orders for r in rounds)} orders, {sum(r.runs for r in rounds)} runs, "
        f"{sum(r.events for r in rounds)} events, {sum(r.effects for r in rounds)} effects, "
        f"{sum(r.holds for r in rounds)} pauses and cancels, {sum(r.doubts for r in rounds)} doubts settled by a person; "
        f"healed in {healed[len(healed) // 2]:.1f} s (median), {healed[-1]:.1f} s (longest); "
        f"{sum(len(r.violations) for r in rounds)} violations"
    )
    return "\n".join(lines)


class Teller:
    """Prints with the seconds since it was made."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._began = time.monotonic()
        self._quiet = quiet

    def __call__(self, text: str) -> None:
        if not self._quiet:
            print(f"{time.monotonic() - self._began:8.1f}  {text}", flush=True)
