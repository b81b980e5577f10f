"""What tracing and the audit log cost: `python -m tests.bench tracing`.

The same runs in turn: with no audit logger, with one that keeps the audit log, and with one that exports traces by OTLP as well. A round
counts until the audit logger has caught up, so that nothing is put off into the next, and in every mode for the same time after the last
run: what services use while they wait would else count where they wait longer. The logger is as it comes, its times too. The collector is
a process that takes what comes, and is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import asyncpg
import msgspec

from tests.bench.driver import Driver
from tests.bench.gauges import Gauges, use_between
from tests.bench.measuring import MEASURED, WARM_UP_RUNS
from tests.bench.platform import ROOT, Waypost, temporary_folder, waypost
from tests.bench.terminal import positive
from tests.waiting import wait_until
from waypost_io.servers import ChildProcess, ProcessSpec, free_port, http

SETTLE_SECONDS = 2.0
"""Longer than the logger gathers, for its log and for traces."""
Mode = Literal["neither", "audit", "audit and traces"]
MODES: tuple[Mode, ...] = ("neither", "audit", "audit and traces")
CAUGHT_UP = """
SELECT NOT EXISTS (
    SELECT FROM partitions p
      LEFT JOIN audit_cursors a USING (partition)
      LEFT JOIN trace_cursors t USING (partition)
     WHERE p.position > coalesce(a.position, 0) OR ($1 AND p.position > coalesce(t.position, 0)))
"""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One round of one mode: CPU-ms per step by process, `audit` among them."""

    mode: Mode
    cpu_ms: dict[str, float]

    @property
    def total(self) -> float:
        return sum(self.cpu_ms.values())


class Sink(BaseHTTPRequestHandler):
    """A collector that takes everything."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


async def measure(
    *, rounds: int, runs: int, in_flight: int = 64, steps: int = 5, on_progress: Callable[[str], None] = lambda _: None
) -> list[Cost]:
    """Every mode so often, in turn. Raises `Stalled`."""
    found: list[Cost] = []
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(temporary_folder())
        platform = await stack.enter_async_context(waypost(folder / "bench", MEASURED))
        driver = await stack.enter_async_context(Driver(platform.nats.url, platform.side.prefix))
        sink = await stack.enter_async_context(collector(platform))
        gauges = Gauges(platform.nats, platform.postgres)
        await gauges.connect()
        stack.push_async_callback(gauges.close)
        connection = await asyncpg.connect(platform.postgres_url)
        stack.push_async_callback(connection.close)
        await driver.in_flight(WARM_UP_RUNS, steps, WARM_UP_RUNS, lambda _: None)
        for number in range(rounds):
            for mode in MODES if number % 2 == 0 else reversed(MODES):
                on_progress(f"round {number + 1} of {rounds}: {mode}")
                async with audit_logger(platform, mode, sink) as pids:
                    await driver.in_flight(WARM_UP_RUNS, steps, WARM_UP_RUNS, lambda _: None)
                    await _caught_up(connection, mode)
                    before = await gauges.read({**platform.side.pids, **pids})
                    await driver.in_flight(runs, steps, in_flight, lambda _: None)
                    await asyncio.sleep(SETTLE_SECONDS)
                    await _caught_up(connection, mode)
                    after = await gauges.read({**platform.side.pids, **pids})
                found.append(Cost(mode=mode, cpu_ms=use_between(before, after, runs * steps).cpu_ms))
    return found


@asynccontextmanager
async def audit_logger(platform: Waypost, mode: Mode, collector_url: str) -> AsyncIterator[Mapping[str, int]]:
    """The audit logger of a mode, ready; its pid by name. Stopped afterwards, which gives its lease back."""
    if mode == "neither":
        yield {}
        return
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")} | {
        "WAYPOST_NATS_URL": platform.nats.url,
        "WAYPOST_POSTGRES_URL": platform.postgres_url,
        "WAYPOST_PREFIX": platform.side.prefix,
        "WAYPOST_LOG_FORMAT": "json",
        "WAYPOST_OPS_ADDR": f"127.0.0.1:{port}",
    }
    if mode == "audit and traces":
        environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": collector_url, "OTEL_METRICS_EXPORTER": "none"}
    command = (sys.executable, "-m", "waypost_audit")
    log_path = platform.data_dir / "audit.log"
    process = await ChildProcess.start(ProcessSpec(name="audit", command=command, log_path=log_path, environment=environment, folder=ROOT))

    async def ready() -> bool:
        answer = await http.get(port, "/readyz", seconds=2.0)
        return answer is not None and answer[0] == 200

    try:
        await wait_until(ready, seconds=60, message="the audit logger is not ready")
        yield {"audit": process.pid}
    finally:
        await process.stop()


@asynccontextmanager
async def collector(platform: Waypost) -> AsyncIterator[str]:
    """The collector's URL."""
    port = free_port()
    spec = ProcessSpec(
        name="collector",
        command=(sys.executable, "-m", "tests.bench.tracing", "--collector", str(port)),
        log_path=platform.data_dir / "collector.log",
        environment=dict(os.environ),
        folder=ROOT,
    )
    process = await ChildProcess.start(spec)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await process.kill()


async def _caught_up(connection: asyncpg.Connection[asyncpg.Record], mode: Mode) -> None:
    if mode != "neither":
        await wait_until(
            lambda: connection.fetchval(CAUGHT_UP, mode == "audit and traces"), seconds=120, message="the audit logger is behind"
        )


def as_text(found: Sequence[Cost]) -> str:
    """Medians by mode, what each mode adds to a step, and where: CPU-ms per step of each process."""
    names = sorted({name for cost in found for name in cost.cpu_ms})
    lines = [f"{'':18}{'CPU-ms per step':>16}{'more':>9}" + "".join(f"{name:>13}" for name in names)]
    plain = statistics.median(cost.total for cost in found if cost.mode == "neither")
    for mode in MODES:
        mine = [cost for cost in found if cost.mode == mode]
        total = statistics.median(cost.total for cost in mine)
        parts = (statistics.median(cost.cpu_ms.get(name, 0.0) for cost in mine) for name in names)
        lines.append(f"{mode:18}{total:16.3f}{total / plain - 1:9.1%}" + "".join(f"{part:13.3f}" for part in parts))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench tracing", description=__doc__)
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="of each mode (%(default)s)")
    parser.add_argument("--runs", type=positive, default=600, metavar="N", help="runs of a round (%(default)s)")
    parser.add_argument("--collector", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.collector is not None:
        ThreadingHTTPServer(("127.0.0.1", options.collector), Sink).serve_forever()
        return 0
    found = asyncio.run(measure(rounds=options.rounds, runs=options.runs, on_progress=lambda text: print(text, file=sys.stderr)))
    print(as_text(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
