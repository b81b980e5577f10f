"""The bank's books: which accounts and customers exist. Follows from the accounts asked for, so that any CSV can be reviewed. Pure.

The accounts of the CSV that ships have a fixed history, chosen so that each rule of the risk analyst applies to some case; any other
account gets one derived from its number.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from importlib import resources

from msgspec import convert

from waypost_examples.compliance.legacy.faults import lot_of
from waypost_examples.compliance.model import Account, Customer


@dataclass(frozen=True, slots=True)
class Entry:
    """One account with its holder."""

    account: Account
    customer: Customer


def book_of(accounts: Iterable[str], seed: int = 0) -> dict[str, Entry]:
    """An entry for each account."""
    known = load_book()
    return {account: known.get(account) or _derived(account, seed) for account in accounts}


def load_book() -> dict[str, Entry]:
    """The accounts with a fixed history."""
    text = (resources.files("waypost_examples.compliance.legacy") / "book.csv").read_text(encoding="utf-8")
    entries = [_read(row) for row in csv.DictReader(text.splitlines())]
    return {entry.account.account: entry for entry in entries}


def _read(row: dict[str, str]) -> Entry:
    fields = row | {"exposed": row["exposed"] == "yes"}
    return Entry(convert(fields, Account, strict=False), convert(fields, Customer, strict=False))


def _derived(account: str, seed: int) -> Entry:
    def lot(what: str) -> float:
        return lot_of(seed, "book", account, what)

    customer = f"K-{account}"
    opened = date(2010, 1, 1) + timedelta(days=int(lot("opened") * 5000))
    reviewed = date(2024, 6, 1) + timedelta(days=int(lot("reviewed") * 500))
    average = Decimal(2_000 + int(lot("average") * 40) * 1_000)
    return Entry(
        Account(account=account, customer=customer, holder=f"Holder of {account}", opened=opened, monthly_average=average),
        Customer(
            customer=customer,
            status="unverified" if lot("status") < 0.1 else "verified",
            reviewed=reviewed,
            exposed=lot("exposed") < 0.1,
        ),
    )
