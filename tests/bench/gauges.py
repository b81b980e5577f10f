"""What processes and servers have used so far, read from outside: CPU and memory from /proc, messages from NATS, WAL from Postgres.

Linux only. Reading costs the measured processes next to nothing: one HTTP answer of NATS and one statement of Postgres.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import msgspec

from waypost_io.servers import EmbeddedNats, EmbeddedPostgres, http

_PROC = Path("/proc")
MIB = 1 << 20


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """Counters at one moment; two of them make a use."""

    cpu_seconds: dict[str, float]
    """By process, with its descendants."""
    nats_messages: int
    """In and out, with pulls, acks and heartbeats."""
    nats_disk_bytes: int
    wal_bytes: int
    transactions: int
    """Those that wrote."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What lay between two readings, divided by steps or by seconds."""

    cpu_ms: dict[str, float]
    nats_messages: float
    nats_disk_bytes: float
    wal_bytes: float
    transactions: float


def use_between(before: Reading, after: Reading, divisor: float) -> Use:
    """The use per unit of `divisor` (steps, or seconds)."""
    return Use(
        cpu_ms={name: (after.cpu_seconds[name] - before.cpu_seconds[name]) * 1e3 / divisor for name in after.cpu_seconds},
        nats_messages=(after.nats_messages - before.nats_messages) / divisor,
        nats_disk_bytes=(after.nats_disk_bytes - before.nats_disk_bytes) / divisor,
        wal_bytes=(after.wal_bytes - before.wal_bytes) / divisor,
        transactions=(after.transactions - before.transactions) / divisor,
    )


class _Varz(msgspec.Struct):
    in_msgs: int
    out_msgs: int


class Gauges:
    """Reads the servers and the processes it is told of. Open it with `connect`, end it with `close`."""

    def __init__(self, nats: EmbeddedNats, postgres: EmbeddedPostgres) -> None:
        self._nats = nats
        self._postgres = postgres
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def connect(self) -> None:
        self._connection = await asyncpg.connect(self._postgres.url)

    @property
    def nats_pid(self) -> int:
        """Of the server that it reads."""
        return self._nats.pid

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def read(self, pids: Mapping[str, int]) -> Reading:
        """Counters of the servers, and of these processes."""
        assert self._connection is not None, "connect first"
        row = await self._connection.fetchrow(
            # transaction ids are counted at once; the statistics of the server lag by seconds
            "SELECT pg_current_wal_insert_lsn() - '0/0' AS wal, pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS transactions"
        )
        assert row is not None
        monitor_port = urlsplit(self._nats.monitor_url).port
        assert monitor_port is not None
        answer = await http.get(monitor_port, "/varz", seconds=5.0)
        varz = msgspec.json.decode(answer[1] if answer is not None else b"", type=_Varz)
        everyone = {**pids, "nats": self._nats.pid, "postgres": self._postgres.pid}
        children = _children()
        return Reading(
            cpu_seconds={name: _cpu_seconds(pid, children) for name, pid in everyone.items()},
            nats_messages=varz.in_msgs + varz.out_msgs,
            nats_disk_bytes=_disk_bytes(self._nats.pid),
            wal_bytes=int(row["wal"]),
            transactions=row["transactions"],
        )


def resident_mib(pid: int) -> float:
    """Resident memory of one process."""
    pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / MIB


def load_average() -> float:
    """Of the last minute: what else the machine was doing."""
    return os.getloadavg()[0]


def _children() -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    return children


def _cpu_seconds(pid: int, children: Mapping[int, list[int]]) -> float:
    total = sum(_cpu_seconds(child, children) for child in children.get(pid, ()))
    for thread in _threads(pid):
        try:
            total += int((thread / "schedstat").read_text().split()[0]) / 1e9
        except OSError:  # the thread ended meanwhile
            continue
    return total


def _threads(pid: int) -> list[Path]:
    try:
        return list((_PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def _disk_bytes(pid: int) -> int:
    try:
        lines = (_PROC / str(pid) / "io").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("write_bytes")), 0)
