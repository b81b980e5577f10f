"""From a person's approval to the resumed agent's next step: `python -m tests.bench.approvals`. Milliseconds, one after another.

Measured from outside: from the moment the signed request is sent to the moment at which the event of the agent's next step (a local one,
after the approved call has run at the gateway) arrives from NATS. That is: verify, decide, commit, tool call, ledger, result, commit,
activation, advance, commit.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from msgspec import Struct

from tests.bench.terminal import forget_settings, positive
from tests.integration.approvals.platform import Platform, approval_of, platform
from waypost.client import Client
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres
from waypost_io.store.migrate import migrate

MODULE = Path(__file__).with_name("approving.py")
GOAL_MILLISECONDS = 20.0
WARM_UP = 20


class Figures(Struct, frozen=True, kw_only=True):
    """Milliseconds. `answered`: until the API has answered, which is after the commit of the decision."""

    runs: int
    answered_p50: float
    next_step_p50: float
    next_step_p99: float


async def measure(runs: int) -> Figures:
    """Servers and services of its own, `runs` approvals after a warm-up."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as folder:
        path = Path(folder)
        path.chmod(0o755)  # as root, Postgres is another user
        async with EmbeddedNats(path / "nats") as nats, EmbeddedPostgres(path / "postgres") as postgres:
            url = await postgres.create_database("bench")
            await migrate(url)
            people = {"sam": ["submitter"], "ann": ["officer"]}
            # the settings of production, not the short ones of the tests
            async with platform(path, nats_url=nats.url, postgres_url=url, people=people, module=MODULE) as desk:
                return await _measured(desk, runs)


async def _measured(desk: Platform, runs: int) -> Figures:
    answered, resumed = [], []
    async with desk.client("sam") as sam, desk.client("ann") as ann:
        for number in range(WARM_UP + runs):
            first, second = await _one(sam, ann, number)
            if number >= WARM_UP:
                answered.append(first)
                resumed.append(second)
    last = max(0, round(0.99 * len(resumed)) - 1)
    return Figures(
        runs=runs,
        answered_p50=statistics.median(answered),
        next_step_p50=statistics.median(resumed),
        next_step_p99=sorted(resumed)[last],
    )


async def _one(sam: Client, ann: Client, number: int) -> tuple[float, float]:
    run_id = (await sam.start("clerk", number)).run_id
    approval = await approval_of(ann, run_id)
    followed = asyncio.Event()
    stepped = asyncio.get_running_loop().create_task(_stepped(ann, run_id, followed), name="follow")
    await followed.wait()
    began = time.perf_counter()
    await ann.approve(approval.approval_id)
    answered = time.perf_counter()
    return (answered - began) * 1e3, (await stepped - began) * 1e3


async def _stepped(client: Client, run_id: str, followed: asyncio.Event) -> float:
    """When the event of the agent's next step came."""
    async with aclosing(client.events(run_id, follow=True)) as events:
        async for event in events:
            if event.type == "approval_requested":
                followed.set()
            if event.type == "step_completed":
                return time.perf_counter()
    raise AssertionError(f"run {run_id} ended without its step")


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 whatever the figures are."""
    forget_settings()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.approvals", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=positive, default=200, help="approvals that are measured")
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    found = asyncio.run(measure(options.runs))
    print(f"{found.runs} approvals, one after another, signed")
    print(f"  answered (committed)   p50 {found.answered_p50:6.1f} ms")
    print(f"  agent's next step      p50 {found.next_step_p50:6.1f} ms   p99 {found.next_step_p99:6.1f} ms")
    print(f"  the goal is p50 {GOAL_MILLISECONDS:g} ms to the next step")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
