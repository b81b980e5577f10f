"""`python -m tests.bench`: measure, print a table, and write it down where asked to."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.bench import page, report
from tests.bench.measuring import Progress, measure
from tests.bench.plan import Plan
from tests.bench.profiles import find_py_spy
from waypost_proto.errors import Misconfigured

DEFAULTS = Plan()


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 whatever the figures are: they are for people to judge. Exit 2: usage."""
    options = _parser().parse_args(argv)
    plan = Plan(
        runs=options.runs,
        in_flight=options.in_flight,
        rounds=options.rounds,
        sequential=options.sequential,
        idle_seconds=options.idle_seconds,
        starts=options.starts,
        profile_folder=options.profile,
    )
    if plan.profile_folder is not None:
        try:
            find_py_spy()
        except Misconfigured as error:
            print(error, file=sys.stderr)
            return 2
    for name in [name for name in os.environ if name.startswith("WAYPOST_")]:
        del os.environ[name]  # settings from outside would change what is measured
    try:
        found = asyncio.run(measure(plan, _progress()))
    except KeyboardInterrupt:
        return 130
    print(report.as_text(found))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if options.write_docs:
        page.write(found)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=(
            "What a step with a tool costs: every service its own process, on embedded NATS and Postgres, beside the floor (the same "
            "messages and rows with no logic) in the same run, in turn. Asserts nothing. A few minutes; Linux."
        ),
    )
    parser.add_argument(
        "--runs", type=_positive, default=DEFAULTS.runs, metavar="N", help="runs of a round, in flight together (%(default)s)"
    )
    parser.add_argument("--in-flight", type=_positive, default=DEFAULTS.in_flight, metavar="N", help="runs in flight at once (%(default)s)")
    parser.add_argument("--rounds", type=_positive, default=DEFAULTS.rounds, metavar="N", help="rounds of each side (%(default)s)")
    parser.add_argument(
        "--sequential", type=_positive, default=DEFAULTS.sequential, metavar="N", help="runs of a round, one after another (%(default)s)"
    )
    parser.add_argument("--idle-seconds", type=float, default=DEFAULTS.idle_seconds, metavar="S", help="how long to watch idle services")
    parser.add_argument("--starts", type=int, default=DEFAULTS.starts, metavar="N", help="how often to start `waypost dev` (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {page.PAGE.name} of docs/")
    parser.add_argument("--profile", metavar="FOLDER", help="then sample each service with py-spy, raw stacks into FOLDER")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _progress() -> Progress:
    """One line that changes on a terminal; a line for each part elsewhere."""
    last_what, last_time = "", 0.0

    def show(what: str, done: int, total: int) -> None:
        nonlocal last_what, last_time
        if sys.stderr.isatty():
            if time.monotonic() - last_time > 0.1 or what != last_what or done == total:
                print(f"\r\x1b[K{what}: {done} of {total}", end="", file=sys.stderr, flush=True)
                last_time = time.monotonic()
        elif what != last_what:
            print(what, file=sys.stderr, flush=True)
        last_what = what

    return show


if __name__ == "__main__":
    sys.exit(main())
