"""`python -m tests.bench peer`: make the peer's environment, compare, print a table, and write it down where asked to."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.bench import page
from tests.bench.peer import charts, environment, report
from tests.bench.peer.measuring import compare
from tests.bench.peer.plan import LEVELS, PeerPlan, PeerReport
from tests.bench.terminal import positive, progress
from waypost_proto.errors import Misconfigured

DEFAULTS = PeerPlan()


def main(argv: Sequence[str]) -> int:
    """The command. Exit 0 whatever the figures are. Exit 2: usage, or the peer cannot be installed."""
    options = _parser().parse_args(argv)
    if options.from_json is not None:
        found = msgspec.json.decode(options.from_json.read_bytes(), type=PeerReport)
    else:
        plan = PeerPlan(
            rounds=options.rounds,
            levels=tuple(level for level in LEVELS if level.at_once in options.in_flight),
            strict=not options.no_strict,
            floor=not options.no_floor,
        )
        try:
            print("the peer's environment", file=sys.stderr, flush=True)
            python = environment.make()
        except Misconfigured as error:
            print(error, file=sys.stderr)
            return 2
        try:
            found = asyncio.run(compare(plan, python, progress()))
        except KeyboardInterrupt:
            return 130
    print(report.as_text(found))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if options.write_docs:
        write_docs(found)
    return 0


def write_docs(found: PeerReport, path: Path = page.PAGE, pictures: Path = charts.PICTURES) -> None:
    """The section of the page, and its charts. Raises `ValueError` when the page has lost its marks."""
    figures = report.as_markdown(found, charts.write(found, pictures))
    text = page.replaced(path.read_text(encoding="utf-8"), figures, (page.PEER_BEGIN, page.PEER_END))
    path.write_text(text, encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench peer",
        description=(
            "Waypost beside LangGraph with AsyncPostgresSaver and durability 'sync', on the same embedded Postgres in the same run, in "
            "turn. Installs LangGraph into an environment of its own the first time. Asserts nothing. About six minutes; Linux."
        ),
    )
    levels = [level.at_once for level in LEVELS]
    parser.add_argument("--rounds", type=positive, default=DEFAULTS.rounds, metavar="N", help="rounds of each side (%(default)s)")
    parser.add_argument("--in-flight", type=int, nargs="+", choices=levels, default=levels, help="runs in flight (all of them)")
    parser.add_argument("--no-strict", action="store_true", help="leave out Waypost with durability strict")
    parser.add_argument("--no-floor", action="store_true", help="leave out the floor")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="measure nothing: report what --json wrote")
    parser.add_argument("--write-docs", action="store_true", help=f"put table and charts into {page.PAGE.name} of docs/")
    return parser
