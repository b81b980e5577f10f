"""`python -m tests.simulation --seed N -v` replays one seed and prints its trace; `--seeds 2000 [--from N]` runs many, on every core."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from tests.simulation.hunting import Hunt, hunted
from tests.simulation.lifelines import end_with
from tests.simulation.mutants import MUTANTS, mutants
from tests.simulation.simulation import Plan, Report, simulate
from tests.simulation.trouble import KINDS

PROCESSES_FOR = 1_000
"""Simulations: they leave some memory behind, so a new pool goes on after so many. One with `max_tasks_per_child` stood still once."""
PROGRESS_SEEDS = 250
_Work = TypeVar("_Work")
_Outcome = TypeVar("_Outcome")


def main() -> int:
    options = _parser().parse_args()
    known = {mutant.name for mutant in MUTANTS}
    if options.mutants is not None and not set(options.mutants) <= known:
        _parser().error(f"no mutant {', '.join(sorted(set(options.mutants) - known))}; there are {', '.join(sorted(known))}")
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of strings must iterate in the same order on every replay
        os.execve(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]], {**os.environ, "PYTHONHASHSEED": "0"})
    if options.mutants is not None:
        return _hunt(options)
    without = frozenset(options.without)
    plans = [
        Plan(
            seed=seed,
            orders=options.orders,
            forks=options.forks,
            troubled_seconds=options.seconds,
            without=without,
            most=frozenset(options.most),
            keep_trace=options.verbose,
            calm=options.calm,
            sabotage=options.sabotage,
            loses_commits=options.lose_commits,
        )
        for seed in ([options.seed] if options.seed is not None else range(options.first, options.first + options.seeds))
    ]
    began = time.monotonic()
    done, failed = 0, []
    struck: Counter[str] = Counter()
    for report in _each(simulate, plans, options.jobs, at_a_time=5):
        done += 1
        struck.update(report.struck)
        if _tell(report, options):
            failed.append(report.seed)
            if options.stop:
                break
        if done % PROGRESS_SEEDS == 0:
            print(f"… {done} seeds, {len(failed)} failed, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(", ".join(f"{what} {count:,}" for what, count in struck.most_common()))
    print(f"{done} seeds, {len(failed)} failed, {time.monotonic() - began:.1f} s", flush=True)
    if options.tally:
        _note(options, done, struck, failed)
    return 1 if failed else 0


def _hunt(options: argparse.Namespace) -> int:
    """How many seeds it takes to notice each variant. 1 if one is not noticed within `--seeds`."""
    seeds = range(options.first, options.first + options.seeds)
    hunts = [Hunt(mutant.name, seeds, options.orders, options.forks, options.seconds) for mutant in mutants(options.mutants)]
    survived = False
    for trophy in _each(hunted, hunts, options.jobs, at_a_time=1):
        print(trophy.told(options.seeds), flush=True)
        survived |= trophy.seed is None
    return 1 if survived else 0


def _note(options: argparse.Namespace, seeds: int, struck: Counter[str], failed: list[int]) -> None:
    """Append what was tried to a file, one line of JSON a run."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    line = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": commit,
        "seeds": seeds,
        "from": options.first,
        "orders": options.orders,
        "forks": options.forks,
        "seconds": options.seconds,
        "struck": dict(struck.most_common()),
        "violations": len(failed),
        "failed_seeds": failed,
    }
    with Path(options.tally).open("a") as file:
        file.write(json.dumps(line) + "\n")


def _each(do: Callable[[_Work], _Outcome], work: list[_Work], jobs: int, *, at_a_time: int) -> Iterator[_Outcome]:
    """What becomes of each, in order, in so many processes."""
    if len(work) == 1 or jobs == 1:
        yield from map(do, work)
        return
    for start in range(0, len(work), PROCESSES_FOR):
        with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=end_with, initargs=(os.getpid(),)) as pool:
            yield from pool.map(do, work[start : start + PROCESSES_FOR], chunksize=at_a_time)


def _tell(report: Report, options: argparse.Namespace) -> bool:
    for line in report.lines:
        print(line)
    if options.verbose or options.seed is not None:
        seconds = f"{report.seconds:.1f} simulated seconds"
        print(f"{report.trouble}\nseed {report.seed}: {seconds}, {report.steps} steps, digest {report.digest:08x}")
    if report.violations:
        print(f"FAILED seed {report.seed} (replay: python -m tests.simulation --seed {report.seed} -v)")
        for violation in report.violations[: options.shown]:
            print(f"  - {violation[: options.width]}", flush=True)
    return bool(report.violations)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first one")
    parser.add_argument("--orders", type=int, default=5, help="runs that customers start")
    parser.add_argument("--forks", type=int, default=2, help="of these runs that are made")
    parser.add_argument("--seconds", type=float, default=12.0, help="simulated seconds of trouble")
    parser.add_argument("--without", nargs="*", choices=KINDS, default=[], help="kinds of trouble to leave out")
    parser.add_argument("--most", nargs="*", choices=KINDS, default=[], help="kinds of trouble that are as strong as they get")
    parser.add_argument("--calm", action="store_true", help="nothing goes wrong")
    parser.add_argument(
        "--sabotage", action="store_true", help="lose an event and make an effect twice at the end: the invariants must notice"
    )
    parser.add_argument("--mutants", nargs="*", metavar="NAME", help="break the services on purpose, and see that it is noticed")
    parser.add_argument("--lose-commits", action="store_true", help="fail-overs lose the last commits: not survived, to see what happens")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--tally", help="append a line about this run to that file")
    parser.add_argument("--stop", action="store_true", help="at the first failure")
    parser.add_argument("--shown", type=int, default=6, help="violations shown per seed")
    parser.add_argument("--width", type=int, default=600)
    parser.add_argument("-v", "--verbose", action="store_true", help="print the trace")
    return parser


if __name__ == "__main__":
    sys.exit(main())
