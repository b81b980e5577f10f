"""Many who watch one edge: `python -m tests.bench.watchers [--watchers N] [--json]`.

Starts servers and an edge of its own, connects watchers by server-sent events, then commits and publishes events as a coordinator does.
It says how long each took to its watchers and how much memory the edge takes. First watchers are spread over a hundred runs, then all watch
one. The watchers are this process: its own work is in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop

from tests.conformance.store.rows import PARTITIONS, Owner
from tests.waiting import wait_until
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres, free_port
from waypost_io.store.migrate import migrate
from waypost_io.store.postgres import PostgresStore
from waypost_proto.ids import RunId
from waypost_proto.subjects import Subjects

TARGET_MIB, TARGET_MILLISECONDS = 150, 20
RUNS = 100
_AGENT = "bench"
_SENT = re.compile(rb'"sent": ?([0-9.]+)')


class Watching:
    """The watchers: how many have begun, and how late each event was at each of them, in milliseconds."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.ready = 0
        self.late: list[float] = []
        self._transports: list[asyncio.BaseTransport] = []

    async def watch(self, run_id: RunId) -> None:
        """One watcher more, until `leave`."""
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: _Watcher(self), "127.0.0.1", self._port)
        self._transports.append(transport)
        path = f"/v1/runs/{run_id}/events"
        transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())

    def leave(self) -> None:
        for transport in self._transports:
            transport.close()


class _Watcher(asyncio.Protocol):
    """Does as little as it can: a thousand of them share this process, and its work is in what they measure."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        at = time.time()
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                sent = _SENT.search(line)
                if sent is None:
                    self._watching.ready += 1
                else:
                    self._watching.late.append((at - float(sent[1])) * 1000)


async def rounds(me: Owner, bus: JetStreamBus, watching: Watching, runs: list[RunId], *, events: int, each: int) -> dict[str, float]:
    """`events` events one after another, each to `each` watchers."""
    watching.late.clear()
    for number in range(events):
        run_id = runs[number % len(runs)]
        body = json.dumps({"run_id": run_id, "seq": me.seqs[run_id] + 1, "type": "signal_received", "agent": _AGENT, "sent": time.time()})
        event = me.event(run_id, body=body.encode())
        await me.commit(event)
        bus.send(Subjects().event(_AGENT, run_id, event.type), event.body)
        bus.push()
        await wait_until(lambda number=number: len(watching.late) >= (number + 1) * each)
    late = sorted(watching.late)
    return {"p50_ms": round(statistics.median(late), 2), "p99_ms": round(late[int(len(late) * 0.99)], 2), "events": events}


async def bench(watchers: int, events: int) -> dict[str, Any]:
    """Servers, an edge, watchers, two rounds."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="waypost-watchers-", ignore_cleanup_errors=True)))
        folder.chmod(0o755)
        nats = await stack.enter_async_context(EmbeddedNats(folder / "nats"))
        postgres = await stack.enter_async_context(EmbeddedPostgres(folder / "postgres"))
        url = await postgres.create_database("watchers")
        await migrate(url)
        store = await stack.enter_async_context(PostgresStore(url))
        await store.leases.ensure_partitions(PARTITIONS)
        leases = await store.leases.acquire("bench", at_most=PARTITIONS, lease_seconds=600)
        me = Owner(store, "bench", {lease.partition: lease for lease in leases})
        bus = await stack.enter_async_context(JetStreamBus(nats.url, name="bench"))
        port = free_port()
        edge = await _edge(stack, url, nats.url, port, watchers)
        before = _resident_mib(edge.pid)
        result: dict[str, Any] = {"watchers": watchers, "edge_alone_mib": before}
        for name, count in (("spread", RUNS), ("one run", 1)):
            runs = [await me.run(agent=_AGENT) for _ in range(count)]
            watching = Watching(port)
            await asyncio.gather(*(watching.watch(runs[n % count]) for n in range(watchers)))
            await wait_until(lambda watching=watching: watching.ready >= watchers, seconds=60)
            busy = _cpu_seconds(edge.pid)
            result[name] = await rounds(me, bus, watching, runs, events=events, each=watchers // count)
            result[name]["edge_cpu_us_per_frame"] = round((_cpu_seconds(edge.pid) - busy) / (events * (watchers // count)) * 1e6, 1)
            result[name]["edge_mib"] = _resident_mib(edge.pid)
            watching.leave()
    return result


async def _edge(stack: AsyncExitStack, url: str, nats_url: str, port: int, watchers: int) -> asyncio.subprocess.Process:
    ops = free_port()
    environment = {
        **os.environ,
        "WAYPOST_POSTGRES_URL": url,
        "WAYPOST_NATS_URL": nats_url,
        "WAYPOST_HTTP_ADDR": f"127.0.0.1:{port}",
        "WAYPOST_OPS_ADDR": f"127.0.0.1:{ops}",
        "WAYPOST_EDGE_WATCHERS": str(max(2_000, 2 * watchers)),
    }
    edge = await asyncio.create_subprocess_exec(sys.executable, "-m", "waypost_edge", env=environment)

    async def end() -> None:
        if edge.returncode is None:
            edge.kill()
        await edge.wait()

    stack.push_async_callback(end)

    async def serves() -> bool:
        _, writer = await asyncio.open_connection("127.0.0.1", ops)
        writer.close()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True

    await wait_until(serves, ignore=(OSError,), seconds=60)
    return edge


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def _cpu_seconds(pid: int) -> float:
    """User and system time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code says whether the targets are reached."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.watchers", description=__doc__)
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--events", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(bench(options.watchers, options.events))
    if options.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        sys.stdout.write(f"{result['watchers']} watchers; the edge alone {result['edge_alone_mib']} MiB\n")
        for name in ("spread", "one run"):
            row = result[name]
            sys.stdout.write(f"{name:8} event to watcher p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms; the edge {row['edge_mib']} MiB")
            sys.stdout.write(f", CPU {row['edge_cpu_us_per_frame']} µs per event and watcher\n")
        sys.stdout.write(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
        sys.stdout.write(f"targets: {TARGET_MIB} MiB, p50 {TARGET_MILLISECONDS} ms\n")
    reached = [row["edge_mib"] < TARGET_MIB and row["p50_ms"] < TARGET_MILLISECONDS for row in (result["spread"], result["one run"])]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
