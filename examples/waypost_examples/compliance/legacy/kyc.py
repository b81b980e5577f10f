"""The KYC service: `GET /customers/<id>` from a SQLite file. Always slow, sometimes slower than its callers wait; at times it hangs up.

Beside it the register of companies: `GET /owners/<company>`, which is old and never fails. Some companies in it own each other.
"""

from __future__ import annotations

import asyncio
import csv
import sqlite3
from collections.abc import Iterable
from datetime import date
from importlib import resources
from pathlib import Path

from waypost_examples.compliance.legacy.faults import FaultClock, FaultKind, FaultPlan
from waypost_examples.compliance.legacy.http import Answer, Request
from waypost_examples.compliance.model import Customer, Owner

_SCHEMA = """
CREATE TABLE IF NOT EXISTS customers (
    customer TEXT PRIMARY KEY, status TEXT NOT NULL, reviewed TEXT NOT NULL, exposed INTEGER NOT NULL
)
"""


def plan(seed: int) -> FaultPlan:
    return FaultPlan(service="kyc", seed=seed, shares={FaultKind.SLOW: 0.15, FaultKind.LOST: 0.15})


def populate(file: Path, customers: Iterable[Customer]) -> None:
    """Create the file if need be and put these customers into it; repeating it changes nothing."""
    connection = sqlite3.connect(file)
    try:
        with connection:
            connection.execute(_SCHEMA)
            rows = [(c.customer, c.status, c.reviewed.isoformat(), c.exposed) for c in customers]
            connection.executemany("INSERT OR REPLACE INTO customers VALUES (?, ?, ?, ?)", rows)
    finally:
        connection.close()


def load_owners() -> dict[str, str]:
    """Company to owner, as registered."""
    text = (resources.files("waypost_examples.compliance.legacy") / "owners.csv").read_text(encoding="utf-8")
    return {row["company"]: row["owner"] for row in csv.DictReader(text.splitlines())}


class Kyc:
    """The service's handler. `usual_seconds` is what each look-up takes, `slow_seconds` what it takes on a bad day."""

    def __init__(self, file: Path, seed: int, *, usual_seconds: float = 0.1, slow_seconds: float = 5.0) -> None:
        self._file = file
        self._faults = FaultClock(plan(seed))
        self._usual_seconds = usual_seconds
        self._slow_seconds = slow_seconds
        self._owners = load_owners()

    async def __call__(self, request: Request) -> Answer | None:
        if request.method == "GET" and len(request.segments) == 2 and request.segments[0] == "owners":
            company = request.segments[1]
            return Answer(200, Owner(company=company, owner=self._owners.get(company)))
        if request.method != "GET" or len(request.segments) != 2 or request.segments[0] != "customers":
            return Answer(404, {"error": "ask GET /customers/<id> or GET /owners/<company>"})
        customer = request.segments[1]
        fault = self._faults.next(customer)
        if fault is FaultKind.LOST:
            return None
        await asyncio.sleep(self._slow_seconds if fault is FaultKind.SLOW else self._usual_seconds)
        found = await asyncio.to_thread(self._look_up, customer)
        return Answer(200, found) if found else Answer(404, {"error": f"no customer {customer}"})

    def _look_up(self, customer: str) -> Customer | None:
        connection = sqlite3.connect(f"file:{self._file}?mode=ro", uri=True)
        try:
            row = connection.execute("SELECT status, reviewed, exposed FROM customers WHERE customer = ?", (customer,)).fetchone()
        finally:
            connection.close()
        if row is None:
            return None
        return Customer(customer=customer, status=row[0], reviewed=date.fromisoformat(row[1]), exposed=bool(row[2]))
