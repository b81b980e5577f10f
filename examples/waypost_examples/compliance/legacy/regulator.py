"""The regulator's dashboard: `POST /reports` with an `Idempotency-Key`, `GET /reports/<key>`, `GET /reports`, `GET /counts`.

It keeps every report that arrives and does *not* drop repeats: a second report under the same key, or for the same case, is stored and
counted, so a duplicate cannot hide. Some answers to a POST are lost after the report was stored, some connections break before.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec

from waypost_examples.compliance.legacy.faults import FaultClock, FaultKind, FaultPlan
from waypost_examples.compliance.legacy.http import Answer, Request
from waypost_examples.compliance.model import Report

RETRY_AFTER_SECONDS = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
    number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, "case" TEXT NOT NULL, body TEXT NOT NULL
)
"""


def plan(seed: int) -> FaultPlan:
    shares = {FaultKind.LATE: 0.25, FaultKind.LOST: 0.15, FaultKind.UNAVAILABLE: 0.15}
    return FaultPlan(service="regulator", seed=seed, shares=shares)


def asking_plan(seed: int) -> FaultPlan:
    """Even the question whether a report arrived fails at times."""
    return FaultPlan(service="regulator-asked", seed=seed, shares={FaultKind.UNAVAILABLE: 0.25}, most_in_a_row=1)


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What arrived in all, and how often per case and per key."""

    total: int
    by_case: dict[str, int]
    by_key: dict[str, int]


class Regulator:
    """The service's handler. Reports are in a SQLite file and survive the process; faults go by case, so they repeat from run to run."""

    def __init__(self, file: Path, seed: int, slow_seconds: float = 5.0) -> None:
        self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.execute(_SCHEMA)
        self._writing = asyncio.Lock()
        self._slow_seconds = slow_seconds
        self._posts = FaultClock(plan(seed))
        self._asks = FaultClock(asking_plan(seed))

    async def __call__(self, request: Request) -> Answer | None:
        match (request.method, *request.segments):
            case ("POST", "reports"):
                return await self._receive(request)
            case ("GET", "reports"):
                return Answer(200, self._rows('SELECT number, key, "case" FROM reports ORDER BY number'))
            case ("GET", "reports", *key) if key:
                return self._ask("/".join(key))
            case ("GET", "counts"):
                return Answer(200, self.counts())
            case _:
                return Answer(404, {"error": "ask POST /reports, GET /reports, GET /reports/<key> or GET /counts"})

    def counts(self) -> Counts:
        """How much arrived, duplicates included."""
        rows = self._rows('SELECT key, "case" FROM reports')
        by_case: dict[str, int] = {}
        by_key: dict[str, int] = {}
        for key, case in rows:
            by_case[case] = by_case.get(case, 0) + 1
            by_key[key] = by_key.get(key, 0) + 1
        return Counts(total=len(rows), by_case=by_case, by_key=by_key)

    def close(self) -> None:
        """Close the file; the handler is not used after."""
        self._database.close()

    async def _receive(self, request: Request) -> Answer | None:
        key = request.headers.get("idempotency-key", "")
        if not key:
            return Answer(400, {"error": "the header Idempotency-Key is missing"})
        try:
            report = msgspec.json.decode(request.body, type=Report)
        except msgspec.DecodeError as error:
            return Answer(422, {"error": f"not a report: {error}"})
        fault = self._posts.next(report.case)
        if fault is FaultKind.UNAVAILABLE:
            return Answer(503, {"error": "intake is closed for a moment"}, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        if fault is FaultKind.LOST:
            return None
        async with self._writing:
            number = await asyncio.to_thread(self._store, key, report.case, request.body.decode())
        if fault is FaultKind.LATE:
            await asyncio.sleep(self._slow_seconds)
        return Answer(201, {"report_id": report_id(number)})

    def _store(self, key: str, case: str, body: str) -> int:
        cursor = self._database.execute('INSERT INTO reports (key, "case", body) VALUES (?, ?, ?)', (key, case, body))
        return int(cursor.lastrowid or 0)

    def _ask(self, key: str) -> Answer:
        rows = self._rows('SELECT number, "case" FROM reports WHERE key = ? ORDER BY number', key)
        if not rows:
            return Answer(404, {"error": f"no report under {key}", "received": 0})
        # by case, because the keys of two demos differ and their faults should not
        if self._asks.next(rows[0][1]) is FaultKind.UNAVAILABLE:
            return Answer(503, {"error": "the archive is busy"}, {"Retry-After": str(RETRY_AFTER_SECONDS)})
        return Answer(200, {"report_id": report_id(rows[0][0]), "received": len(rows)})

    def _rows(self, query: str, *parameters: str) -> list[Any]:
        return self._database.execute(query, parameters).fetchall()


def report_id(number: int) -> str:
    """How the regulator names its nth report."""
    return f"R-{number:05d}"
