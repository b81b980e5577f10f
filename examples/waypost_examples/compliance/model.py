"""What the desk works on: transactions, cases, what three legacy systems know, an assessment, a report. Values only, no I/O."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from msgspec import Struct


class Transaction(Struct, frozen=True, kw_only=True):
    """One row of the CSV. `amount` is in units of `currency`, at most two decimals."""

    id: str
    booked_at: datetime
    amount: Decimal
    currency: str
    counterparty: str
    country: str
    kind: Literal["transfer", "cash", "card"]


class Case(Struct, frozen=True, kw_only=True):
    """The transactions of one account that are reviewed together; the input of the `compliance` agent."""

    id: str
    account: str
    transactions: list[Transaction]

    @property
    def total(self) -> Decimal:
        return sum((t.amount for t in self.transactions), Decimal(0))

    @property
    def counterparties(self) -> list[str]:
        """Each once, in order of appearance."""
        return list(dict.fromkeys(t.counterparty for t in self.transactions))


class Account(Struct, frozen=True, kw_only=True):
    """What core banking knows. `monthly_average` is the account's usual monthly turnover."""

    account: str
    customer: str
    holder: str
    opened: date
    monthly_average: Decimal


class Customer(Struct, frozen=True, kw_only=True):
    """What KYC (know your customer) knows. `exposed`: a politically exposed person."""

    customer: str
    status: Literal["verified", "unverified"]
    reviewed: date
    exposed: bool


class Hit(Struct, frozen=True, kw_only=True):
    """A name that resembles an entry of a sanctions list; `score` is 1.0 for the same name."""

    name: str
    entry: str
    sanctions_list: str
    score: float


class Owner(Struct, frozen=True, kw_only=True):
    """What the registry knows of a company; None where no owner is registered, as of a person."""

    company: str
    owner: str | None


class Ownership(Struct, frozen=True, kw_only=True):
    """From a company to whoever owns it in the end, each once. `circular`: nobody does, the companies own each other."""

    chain: list[str]
    circular: bool = False


class Evidence(Struct, frozen=True, kw_only=True):
    """All that the risk analyst is given."""

    case: Case
    account: Account
    customer: Customer
    hits: list[Hit]
    owners: list[Ownership] = []


class Reason(Struct, frozen=True, kw_only=True):
    """One rule that applied, what it adds to the risk, and why in words."""

    rule: str
    weight: float
    text: str


class Assessment(Struct, frozen=True, kw_only=True):
    """The risk analyst's answer: `risk` from 0 to 0.99, with every reason."""

    case: str
    risk: float
    level: Literal["low", "high"]
    reasons: list[Reason]


class Report(Struct, frozen=True, kw_only=True):
    """What is filed at the regulator; an officer approves exactly these values."""

    case: str
    account: str
    kind: Literal["suspicious_activity", "routine_summary"]
    total: Decimal
    risk: float
    reasons: list[str]
    transactions: list[str]


class Receipt(Struct, frozen=True, kw_only=True):
    """The regulator's answer to a report."""

    report_id: str


class Freeze(Struct, frozen=True, kw_only=True):
    """An order to freeze an account, because `name` is on a sanctions list."""

    account: str
    name: str


class Frozen(Struct, frozen=True, kw_only=True):
    """The freezing office's answer to an order."""

    order: str


class Outcome(Struct, frozen=True, kw_only=True):
    """How a case ended. `report_id` is None when an officer refused the report or the policy denied it (then `reason` says why).

    `freeze_order` is the freezing office's number, where the account had to be frozen.
    """

    case: str
    decision: Literal["reported", "summarised", "refused", "denied"]
    risk: float
    report_id: str | None = None
    freeze_order: str | None = None
    reason: str = ""
