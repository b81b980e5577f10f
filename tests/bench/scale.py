"""`python -m tests.bench scale`: is the cost of a step flat, are waiting runs free, and how long does recovery take?"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec

from tests.bench import machine
from tests.bench.measuring import Progress
from tests.bench.platform import temporary_folder
from tests.bench.scale_idle import waiting
from tests.bench.scale_plan import Figure, ScalePlan, ScaleReport
from tests.bench.scale_recovery import recovery
from tests.bench.scale_rounds import along_a_run, over_store_size
from tests.bench.scale_stack import Servers, running_servers

DEFAULTS = ScalePlan()
Part = Callable[[Servers, ScalePlan, Progress], Awaitable[list[Figure]]]
PARTS: dict[str, Part] = {"steps": along_a_run, "finished": over_store_size, "waiting": waiting, "recover": recovery}
"""By the option that says how much of it there is."""


def main(arguments: Sequence[str], on_progress: Progress) -> int:
    """The sub-command. Exit 0 whatever the figures are: they are for people to judge."""
    options = _parser().parse_args(arguments)
    plan = ScalePlan(**{name: value for name, value in vars(options).items() if name in ScalePlan.__struct_fields__})
    try:
        found = asyncio.run(measure_scale(plan, on_progress))
    except KeyboardInterrupt:
        return 130
    print(as_text(found))
    if options.json is not None:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    return 0


async def measure_scale(plan: ScalePlan, on_progress: Progress) -> ScaleReport:
    """Every part whose number is not 0, each on servers of its own. Cancelling ends all processes. Raises `Stalled`, `NotReady`."""
    figures: list[Figure] = []
    for name, part in PARTS.items():
        if getattr(plan, name):
            async with temporary_folder() as folder, running_servers(folder) as servers:
                figures += await part(servers, plan, on_progress)
    return ScaleReport(plan=plan, machine=machine.describe(), figures=figures)


def as_text(report: ScaleReport) -> str:
    """The table, a block for each part."""
    lines = []
    part = ""
    for figure in report.figures:
        if figure.part != part:
            part = figure.part
            lines += ["", part, f"  {'':<58}{'small':>12}{'large':>12}{'judged':>12}{'limit':>8}"]
        limit = "" if figure.limit is None else f"{figure.limit:,g}"
        verdict = {None: "", True: "  holds", False: "  DOES NOT HOLD"}[figure.holds]
        lines.append(f"  {figure.what:<58}{figure.small:>12,.2f}{figure.large:>12,.2f}{figure.judged:>12,.2f}{limit:>8}{verdict}")
    return "\n".join(lines).strip("\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench scale",
        description=(
            "Is a step's cost flat along a run and over the size of the store, what do waiting runs cost, how long does recovery take "
            "when everything was killed: the real services on embedded NATS and Postgres. Asserts nothing. 0 leaves a part out; Linux."
        ),
    )
    parser.add_argument("--steps", type=_count, default=DEFAULTS.steps, metavar="N", help="length of the long runs (%(default)s)")
    parser.add_argument("--finished", type=_count, default=DEFAULTS.finished, metavar="N", help="finished runs in the store (%(default)s)")
    parser.add_argument("--waiting", type=_count, default=DEFAULTS.waiting, metavar="N", help="runs that wait for a signal (%(default)s)")
    parser.add_argument("--recover", type=_count, default=DEFAULTS.recover, metavar="N", help="runs in flight at the kill (%(default)s)")
    parser.add_argument("--rounds", type=_count, default=DEFAULTS.rounds, metavar="N", help="rounds of each comparison (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write plan, machine and every figure")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return number
