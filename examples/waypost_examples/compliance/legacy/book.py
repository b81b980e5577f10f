"""The bank's books: which accounts and customers exist. Follows from the accounts asked for, so that any CSV can be reviewed. Pure.

The accounts of the CSV that ships have a fixed history, chosen so that each rule of the risk analyst applies to some case; any other
account gets one derived from its number.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from waypost_examples.compliance.legacy.faults import lot_of
from waypost_examples.compliance.model import Account, Customer


@dataclass(frozen=True, slots=True)
class Entry:
    """One account with its holder."""

    account: Account
    customer: Customer


_Status = Literal["verified", "unverified"]
_V: _Status = "verified"
_U: _Status = "unverified"
_FIXED: tuple[tuple[str, str, str, date, int, _Status, date, bool], ...] = (
    # account, customer, holder, opened, monthly average, KYC status, KYC reviewed, politically exposed
    ("ACC-1001", "K-501", "Nordlicht Bäckerei GmbH", date(2014, 5, 2), 21_000, _V, date(2025, 6, 1), False),
    ("ACC-1002", "K-502", "Hansa Gebrauchtwagen", date(2019, 9, 12), 30_000, _V, date(2022, 1, 15), False),
    ("ACC-1003", "K-503", "Lindholm Trading AB", date(2016, 3, 30), 90_000, _V, date(2025, 2, 20), False),
    ("ACC-1004", "K-504", "Jonas Petersen", date(2011, 7, 1), 3_100, _V, date(2024, 11, 5), False),
    ("ACC-1005", "K-505", "Viktor Lahtinen", date(2018, 10, 8), 14_000, _V, date(2025, 1, 9), True),
    ("ACC-1006", "K-506", "Deichmann Segel OHG", date(2009, 4, 4), 8_500, _V, date(2025, 9, 1), False),
    ("ACC-1007", "K-507", "Meridian Import UG", date(2026, 1, 19), 15_000, _U, date(2026, 1, 19), False),
    ("ACC-1008", "K-508", "Galerie Westwind", date(2013, 12, 3), 11_000, _V, date(2025, 4, 4), False),
    ("ACC-1009", "K-509", "Elena Voss", date(2020, 2, 14), 9_000, _V, date(2025, 7, 7), False),
    ("ACC-1010", "K-510", "Gerd Matthiesen", date(2005, 8, 21), 4_200, _V, date(2025, 3, 3), False),
    ("ACC-1011", "K-511", "Rheinland Automaten KG", date(2017, 6, 6), 9_000, _V, date(2025, 5, 5), False),
    ("ACC-1012", "K-512", "Familie Oltmann", date(2015, 1, 1), 5_600, _V, date(2025, 8, 8), False),
)


def book_of(accounts: Iterable[str], seed: int = 0) -> dict[str, Entry]:
    """An entry for each account."""
    known = {row[0]: _entry(*row) for row in _FIXED}
    return {account: known.get(account) or _derived(account, seed) for account in accounts}


def _entry(account: str, customer: str, holder: str, opened: date, average: int, status: _Status, reviewed: date, exposed: bool) -> Entry:  # noqa: PLR0917, PLR0913
    return Entry(
        Account(account=account, customer=customer, holder=holder, opened=opened, monthly_average=Decimal(average)),
        Customer(customer=customer, status=status, reviewed=reviewed, exposed=exposed),
    )


def _derived(account: str, seed: int) -> Entry:
    def lot(what: str) -> float:
        return lot_of(seed, "book", account, what)

    opened = date(2010, 1, 1) + timedelta(days=int(lot("opened") * 5000))
    reviewed = date(2024, 6, 1) + timedelta(days=int(lot("reviewed") * 500))
    status = _U if lot("status") < 0.1 else _V
    average = 2_000 + int(lot("average") * 40) * 1_000
    return _entry(account, f"K-{account}", f"Holder of {account}", opened, average, status, reviewed, lot("exposed") < 0.1)
