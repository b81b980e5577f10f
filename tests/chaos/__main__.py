"""Random faults on a deployment of real processes. `python -m tests.chaos --seed N --minutes M`; docs/chaos.md tells what it does.

The exit code is 0 when every check held, 1 when one failed (what is worth examining is kept), 2 for wrong options.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import structlog
import uvloop

from tests.chaos.storm.deployment import deployed, keep
from tests.chaos.storm.disks import SmallDisk, own_mounts
from tests.chaos.storm.plan import GROUPS, KINDS, Weather, kinds_named
from tests.chaos.storm.report import Round, Teller, append_tally, as_json, read_tally, table
from tests.chaos.storm.rounds import Plan, storm


def main() -> int:
    """The command."""
    options = _parser().parse_args()
    if options.sum:
        print(table(read_tally(options.sum), {}))
        return 0
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1_000_000)
    try:
        kinds = kinds_named([name.strip() for name in options.only.split(",") if name.strip()])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    mounts = own_mounts()  # before anything has a thread
    folder = Path(tempfile.mkdtemp(prefix="waypost-storm-"))
    folder.chmod(0o755)  # as root our Postgres is another user
    rounds: list[Round] = []
    kept = ""
    try:
        kept, impossible = uvloop.run(_run(options, seed, kinds, mounts, folder, rounds))
    except (KeyboardInterrupt, asyncio.CancelledError):
        impossible = {}
    finally:
        for disk in folder.glob("*-disk"):
            SmallDisk(disk, 0).unmount()
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(as_json(rounds, impossible, kept))
    else:
        print(table(rounds, impossible))
        if kept:
            print(f"kept for examination: {kept}\nagain: python -m tests.chaos --seed {seed}")
    return 1 if any(round_.violations for round_ in rounds) or not rounds else 0


async def _run(
    options: argparse.Namespace, seed: int, kinds: frozenset[str], mounts: str, folder: Path, rounds: list[Round]
) -> tuple[str, dict[str, str]]:
    tell = Teller(quiet=options.json)
    tell(f"seed {seed}")
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # in order: nothing may be left running or lying about
    log = (folder / "customers.log").open("w", encoding="utf-8", buffering=1)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(log))  # lost connections are our business here
    until = time.monotonic() + 60 * options.minutes
    async with deployed(folder, seed, mounts=mounts, settings={} if options.defaults else None) as made:
        for kind, why in made.impossible.items():
            tell(f"not possible here: {kind}: {why}")
        weather = Weather(
            seconds=options.trouble,
            pause_seconds=options.pause,
            longest_seconds=options.longest,
            kinds=kinds - made.impossible.keys(),
        )
        plan = Plan(seed=seed, weather=weather, orders_per_second=options.orders, sabotage=options.sabotage)
        async with storm(plan, made, tell) as weathered:
            number = options.round
            while not rounds or (time.monotonic() < until and not rounds[-1].violations):
                rounds.append(await weathered.round(number))
                if options.tally:
                    append_tally(options.tally, rounds[-1])
                number += 1
    kept = ""
    if rounds and rounds[-1].violations:
        kept = tempfile.mkdtemp(prefix=f"waypost-storm-{seed}-")
        keep(made, Path(kept))
        (Path(kept) / "report.json").write_text(as_json(rounds, made.impossible, kept), encoding="utf-8")
    return kept, made.impossible


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="what strikes when; by default one is drawn and printed")
    parser.add_argument("--minutes", type=float, default=5.0, help="rounds are begun for so long; at least one (default %(default)s)")
    parser.add_argument("--only", default="", help=f"groups ({', '.join(GROUPS)}) or kinds ({', '.join(KINDS)}), separated by commas")
    parser.add_argument("--round", type=int, default=1, help="number of the first round: the seed's strikes from there on")
    parser.add_argument("--trouble", type=float, default=40.0, help="seconds of faults in a round (default %(default)s)")
    parser.add_argument("--pause", type=float, default=2.5, help="seconds between two faults, on average (default %(default)s)")
    parser.add_argument("--longest", type=float, default=60.0, help="no fault lasts longer, in seconds (default %(default)s)")
    parser.add_argument("--orders", type=float, default=2.0, help="runs that customers start, per second (default %(default)s)")
    parser.add_argument("--defaults", action="store_true", help="leases and waits as they are by default, instead of short ones")
    parser.add_argument("--sabotage", action="store_true", help="lose an event and make an effect twice: the checks must notice")
    parser.add_argument("--tally", type=Path, help="append a line of JSON per round to this file")
    parser.add_argument("--sum", type=Path, metavar="TALLY", help="storm nothing: print the table of all rounds of a tally")
    parser.add_argument("--json", action="store_true", help="print nothing but a report in JSON at the end")
    return parser


if __name__ == "__main__":
    sys.exit(main())
