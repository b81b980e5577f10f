"""`python -m tests.chaos.takeover`: measure how long work stands still, print a table, and write it into the page where asked to."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.bench.terminal import forget_settings, positive, progress
from tests.chaos.takeover import report
from tests.chaos.takeover.measure import measure
from tests.chaos.takeover.troubles import TROUBLES

ROUNDS = 5
RUNS = 12


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 when no run failed, 1 otherwise; the figures themselves are for people to judge. Exit 2: usage."""
    forget_settings()
    options = _parser().parse_args(argv)
    chosen = [trouble for trouble in TROUBLES if not options.only or options.only in f"{trouble.what} {trouble.whom}"]
    if not chosen:
        names = ", ".join(f"{trouble.what} {trouble.whom}".strip() for trouble in TROUBLES)
        print(f"--only {options.only!r}: nothing of that name; there are: {names}", file=sys.stderr)
        return 2
    try:
        found = asyncio.run(measure(chosen, rounds=options.rounds, runs=options.runs, progress=progress()))
    except KeyboardInterrupt:
        return 130
    print(report.as_text(found))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if options.write_docs:
        report.write(found, rounds=options.rounds, runs=options.runs)
    return int(any(gaps.bad for gaps in found))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.takeover",
        description=(
            "Two coordinators, workers and gateways with their default settings on embedded NATS and Postgres. One of them is killed, "
            "paused or asked to leave while runs make steps, and the longest time without a completed step is measured from outside. "
            "About three minutes a round; Linux."
        ),
    )
    parser.add_argument("--rounds", type=positive, default=ROUNDS, metavar="N", help="how often each is tried (%(default)s)")
    parser.add_argument("--runs", type=positive, default=RUNS, metavar="N", help="runs in flight (%(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help='only what has this in its name: "SIGSTOP", "kill -9 worker", "rolling"')
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {report.PAGE.name} of docs/")
    return parser


if __name__ == "__main__":
    sys.exit(main())
