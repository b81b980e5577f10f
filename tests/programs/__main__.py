"""`python -m tests.programs --examples 5000 --seed 1`: so many random programs, in batches of 250 with a seed of their own.

`--with all` lets runs go on, after each crash, on every other Python at hand; `--python PATH` (or `all`) runs the whole command on that
one. Prints progress, and on a failure the seed and the shrunk program. The exit code is 1 if something failed.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.programs import pythons
from tests.programs.campaign import BATCH, Failed, run_batch, shares
from tests.programs.hosts import Elsewhere, Here, Host
from tests.programs.properties import PROPERTIES, Tally

PROGRESS_SECONDS = 2.0


def main() -> int:
    options = _parser().parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="waypost-programs-")))
        if options.python:
            return max(_run_on(python, options, folder) for python in _chosen(options.python, folder))
        elsewhere = [stack.enter_context(Elsewhere(python)) for python in _chosen(options.also, folder)]
        return _campaign(options, [Here(), *elsewhere])


def _chosen(names: Sequence[str], folder: Path) -> Iterator[str]:
    """Pythons that have what is needed; `all` means every other one at hand."""
    paths = [path for name in names for path in (pythons.others().values() if name == "all" else [name])]
    for number, path in enumerate(dict.fromkeys(paths)):
        print(f"preparing {path}", file=sys.stderr, flush=True)
        yield pythons.prepare(path, folder / f"python{number}")


def _run_on(python: str, options: argparse.Namespace, folder: Path) -> int:
    command = [python, "-m", "tests.programs", "--examples", str(options.examples), "--seed", str(options.seed)]
    command += ["--property", *options.property] if options.property else []
    for also in _chosen(options.also, folder / "also"):
        command += ["--with", also]
    command += ["--tally", str(Path(options.tally).resolve())] if options.tally else []
    return subprocess.run(command, env=pythons.environment(), cwd=pythons.ROOT, check=False).returncode


def _campaign(options: argparse.Namespace, hosts: Sequence[Host]) -> int:
    failures = 0
    for name in options.property or PROPERTIES:
        examples = options.examples if len(options.property or ()) == 1 else shares(options.examples)[name]
        failures += _property(name, examples, options, hosts)
    return 1 if failures else 0


def _property(name: str, examples: int, options: argparse.Namespace, hosts: Sequence[Host]) -> int:
    tally, began, told = Tally(), time.monotonic(), time.monotonic()

    def line() -> str:
        crashes = f"{tally.crashes} crashes, " if name != "changes" else f"{tally.diverged} divergences, {tally.fitted} fits, "
        return f"{name}: {tally.examples} of {examples} programs, {tally.lives} lives, {crashes}{time.monotonic() - began:.0f} s"

    def progress() -> None:
        nonlocal told
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(line(), file=sys.stderr, flush=True)

    failures = 0
    for number, done in enumerate(range(0, examples, BATCH)):
        try:
            run_batch(PROPERTIES[name], options.seed + number, min(BATCH, examples - done), hosts, tally, progress)
        except Failed as failed:
            failures += 1
            again = f"python -m tests.programs --property {name} --examples {BATCH} --seed {options.seed + number}"
            print(f"FAILED {failed}\n# again: {again}", flush=True)
    print(f"{line()}, {failures} failed, on Python {' and '.join(host.name for host in hosts)}", flush=True)
    if options.tally:
        _note(Path(options.tally), name, tally, hosts, options.seed, failures, time.monotonic() - began)
    return failures


def _note(path: Path, name: str, tally: Tally, hosts: Sequence[Host], seed: int, failures: int, seconds: float) -> None:
    """One line of JSON for a run that was long enough to tell of."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=pythons.ROOT, capture_output=True, text=True, check=False)
    note = {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "property": name,
        "python": hosts[0].name,
        "with": [host.name for host in hosts[1:]],
        "seed": seed,
        "examples": tally.examples,
        "lives": tally.lives,
        "events": tally.events,
        "crash_points": tally.crashes,
        "divergences": tally.diverged,
        "failures": failures,
        "seconds": round(seconds, 1),
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(note) + "\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.programs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--examples", type=int, default=1000, help="programs in all; crashes get half of them, storms and changes a quarter each"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the first batch; the next has the next")
    parser.add_argument("--property", nargs="+", choices=sorted(PROPERTIES), help="only these")
    parser.add_argument("--with", dest="also", action="append", default=[], metavar="PATH", help="another Python that takes runs up; 'all'")
    parser.add_argument("--python", action="append", default=[], metavar="PATH", help="run on this Python instead; 'all'")
    parser.add_argument("--tally", metavar="FILE", help="append a line of JSON for each property")
    return parser


if __name__ == "__main__":
    sys.exit(main())
