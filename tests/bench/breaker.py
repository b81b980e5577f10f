"""How soon a tripped breaker stops calls, here and on another gateway: `python -m tests.bench.breaker`.

Two gateways serve a tool under load. It breaks; each begun call is written down by the tool itself, with the machine's monotonic time and
its gateway. The breaker trips with the fifth failure that one of them sees. From then on that gateway should begin no call, and the other
none once it has heard of it.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from tests.bench.breaking import FAILURES, ROUNDS
from tests.bench.terminal import forget_settings, positive
from tests.integration.approvals.platform import Platform, platform
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres
from waypost_io.store.migrate import migrate

MODULE = Path(__file__).with_name("breaking.py")
RUNS = 24
WARM_CALLS = 100
WATCH_SECONDS = 1.5
"""For how long stragglers are looked for: past the promised second."""


class Figures(Struct, frozen=True, kw_only=True):
    """Of each round: calls that the tripped gateway began after the failure that tripped it, and milliseconds from then until the other
    began its last; 0: it began none."""

    same: list[int]
    others_ms: list[float]


class _Begun(Struct, frozen=True):
    at: int
    gateway: str
    broken: bool


async def measure(rounds: int) -> Figures:
    """Servers and services of its own; one tool, and so one breaker, a round."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as folder:
        path = Path(folder)
        path.chmod(0o755)  # as root, Postgres is another user
        async with EmbeddedNats(path / "nats") as nats, EmbeddedPostgres(path / "postgres") as postgres:
            url = await postgres.create_database("bench")
            await migrate(url)
            async with platform(path, nats_url=nats.url, postgres_url=url, module=MODULE) as desk:
                await desk.start("waypost_gateway", str(MODULE))
                async with desk.client() as client:
                    found = [await _round(desk, client, number) for number in range(min(rounds, ROUNDS))]
    return Figures(same=[same for same, _ in found], others_ms=[others for _, others in found])


async def _round(desk: Platform, client: Client, number: int) -> tuple[int, float]:
    started = [await client.start("caller", number) for _ in range(RUNS)]

    def warm() -> bool:
        by_gateway = Counter(begun.gateway for begun in _begun(desk, number))
        return len(by_gateway) > 1 and min(by_gateway.values()) >= WARM_CALLS // 2

    await wait_until(warm, seconds=60, message="both gateways are called")
    Path(desk.environment["EFFECTS_FILE"] + f".broken-{number}").touch()
    await wait_until(lambda: _tripped(desk, number) is not None, seconds=30, message="the breaker trips")
    await asyncio.sleep(WATCH_SECONDS)
    for handle in started:
        await client.cancel(handle.run_id)
    tripped = _tripped(desk, number)
    assert tripped is not None
    later = [begun for begun in _begun(desk, number) if begun.at > tripped.at]
    same = sum(begun.gateway == tripped.gateway for begun in later)
    last = max((begun.at for begun in later if begun.gateway != tripped.gateway), default=tripped.at)
    return same, (last - tripped.at) / 1e6


def _begun(desk: Platform, number: int) -> list[_Begun]:
    path = Path(desk.environment["EFFECTS_FILE"])
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [line.split() for line in lines]
    return sorted(
        (_Begun(int(at), gateway, broken == "1") for n, at, gateway, broken in rows if int(n) == number), key=lambda begun: begun.at
    )


def _tripped(desk: Platform, number: int) -> _Begun | None:
    """The failure that trips a breaker first: the fifth that one gateway has seen."""
    failures: Counter[str] = Counter()
    for begun in _begun(desk, number):
        failures[begun.gateway] += begun.broken
        if begun.broken and failures[begun.gateway] == FAILURES:
            return begun
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 whatever the figures are."""
    forget_settings()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.breaker", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=positive, default=5, help=f"breakers that are tripped, at most {ROUNDS} (%(default)s)")
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    found = asyncio.run(measure(options.rounds))
    print(f"{len(found.same)} breakers, each tripped under load with two gateways")
    same, others = found.same, found.others_ms
    print(f"  calls begun after the trip, same gateway   median {statistics.median(same):g}, most {max(same)}")
    print(f"  until the other began its last             median {statistics.median(others):.1f} ms, most {max(others):.1f} ms")
    print("  the goal: within one call on the same gateway, within 1000 ms on others")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
