"""`python -m tests.bench`: measure, print a table, and write it down where asked to."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.bench import page, report, scale, tracing
from tests.bench.measuring import measure
from tests.bench.peer import command as peer_command
from tests.bench.plan import Plan
from tests.bench.profiles import find_py_spy
from tests.bench.terminal import forget_settings, positive, progress
from waypost_proto.errors import Misconfigured

DEFAULTS = Plan()


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 whatever the figures are: they are for people to judge. Exit 2: usage."""
    forget_settings()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["peer"]:
        return peer_command.main(arguments[1:])
    if arguments[:1] == ["scale"]:
        return scale.main(arguments[1:], progress())
    if arguments[:1] == ["tracing"]:
        return tracing.main(arguments[1:])
    options = _parser().parse_args(arguments)
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
    try:
        found = asyncio.run(measure(plan, progress()))
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
            "messages and rows with no logic) in the same run, in turn. Asserts nothing. A few minutes; Linux. `python -m tests.bench "
            "peer` compares with LangGraph instead."
        ),
    )
    parser.add_argument(
        "--runs", type=positive, default=DEFAULTS.runs, metavar="N", help="runs of a round, in flight together (%(default)s)"
    )
    parser.add_argument("--in-flight", type=positive, default=DEFAULTS.in_flight, metavar="N", help="runs in flight at once (%(default)s)")
    parser.add_argument("--rounds", type=positive, default=DEFAULTS.rounds, metavar="N", help="rounds of each side (%(default)s)")
    parser.add_argument(
        "--sequential", type=positive, default=DEFAULTS.sequential, metavar="N", help="runs of a round, one after another (%(default)s)"
    )
    parser.add_argument("--idle-seconds", type=float, default=DEFAULTS.idle_seconds, metavar="S", help="how long to watch idle services")
    parser.add_argument("--starts", type=int, default=DEFAULTS.starts, metavar="N", help="how often to start `waypost dev` (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument("--write-docs", action="store_true", help=f"put the table into {page.PAGE.name} of docs/")
    parser.add_argument("--profile", metavar="FOLDER", help="then sample each service with py-spy, raw stacks into FOLDER")
    return parser


if __name__ == "__main__":
    sys.exit(main())
