"""`python -m tests.evidence TALLY…`: what was tried and how often, from the files that the long runs append to."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench.machine import describe
from tests.bench.page import replaced
from tests.evidence.report import as_markdown
from tests.evidence.tallies import read

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guarantees.md"
MARKS = ("<!-- tried: python -m tests.evidence TALLY… --write-docs -->", "<!-- end of what was tried -->")


def main(arguments: list[str] | None = None) -> int:
    """0: written or printed; 2: the files are not tallies."""
    parser = argparse.ArgumentParser(prog="python -m tests.evidence", description=__doc__)
    parser.add_argument(
        "tallies", nargs="+", type=Path, metavar="TALLY", help="what --tally of tests.simulation, .chaos and .programs wrote"
    )
    parser.add_argument("--write-docs", action="store_true", help="put it into docs/guarantees.md")
    options = parser.parse_args(arguments)
    try:
        text = as_markdown(read(options.tallies), describe())
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if options.write_docs:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), text, MARKS), encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
