"""The risk analyst's rules: evidence in, assessment with its reasons out. Pure: the same evidence gives the same answer for ever.

A risk is the sum of the weights of the rules that apply, at most 0.99; from `HIGH_FROM` on it is high. No rule reads a clock:
"recent" is measured from the latest transaction, so that a case can be assessed again years later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal

from waypost_examples.compliance.model import Assessment, Evidence, Reason

HIGH_FROM = 0.7
REPORTING_LIMIT = Decimal(10_000)
"""Cash from here on is reported anyway; several amounts just below it look like an attempt to avoid that."""
JUST_BELOW = Decimal(9_000)
STRUCTURING_COUNT = 3
STRUCTURING_WINDOW = timedelta(hours=48)
UNUSUAL_FACTOR = 3
NEW_ACCOUNT = timedelta(days=90)
REVIEW_EVERY = timedelta(days=730)
STRONG_MATCH = 0.9
"""From this score on the name is the entry; the account must then be frozen."""
HIGH_RISK_COUNTRIES = frozenset({"IR", "KP", "MM"})
"""The FATF's call-for-action list as of 2024."""

BOOK = f"""\
sanctions       0.75 where the best hit's score is {STRONG_MATCH} or more, 0.3 for a weaker one; only the best hit counts
structuring     0.5 for {STRUCTURING_COUNT} or more cash amounts from {JUST_BELOW} to below {REPORTING_LIMIT} within 48 hours
country         0.3 for a transaction with {", ".join(sorted(HIGH_RISK_COUNTRIES))}
unusual         0.3 where the case's total is more than {UNUSUAL_FACTOR} times the account's monthly average
ownership       0.5 for each circular ownership
new_account     0.15 where the account is younger than {NEW_ACCOUNT.days} days and the total {REPORTING_LIMIT} or more
kyc_unverified  0.3 where the customer is not verified
kyc_outdated    0.25 where the customer is verified and was last reviewed more than {REVIEW_EVERY.days} days before the latest transaction
exposed         0.25 for a politically exposed person"""
"""The same rules in words, for a model."""


def assess(evidence: Evidence) -> Assessment:
    """Apply every rule, heaviest reason first."""
    reasons = sorted((r for rule in _RULES for r in rule(evidence)), key=lambda r: (-r.weight, r.rule))
    risk = min(0.99, round(sum(reason.weight for reason in reasons), 2))
    return Assessment(case=evidence.case.id, risk=risk, level="high" if risk >= HIGH_FROM else "low", reasons=reasons)


def _sanctions(evidence: Evidence) -> Iterator[Reason]:
    """The strongest hit counts: ten weak resemblances are not a strong one."""
    if not evidence.hits:
        return
    hit = max(evidence.hits, key=lambda h: (h.score, h.entry))
    strong = hit.score >= STRONG_MATCH
    how = "is" if strong else "resembles"
    text = f"counterparty {hit.name!r} {how} {hit.entry!r} on {hit.sanctions_list} (score {hit.score:.2f})"
    yield Reason(rule="sanctions", weight=0.75 if strong else 0.3, text=text)


def _structuring(evidence: Evidence) -> Iterator[Reason]:
    times = sorted(t.booked_at for t in evidence.case.transactions if JUST_BELOW <= t.amount < REPORTING_LIMIT and t.kind == "cash")
    within = max((sum(1 for t in times if start <= t <= start + STRUCTURING_WINDOW) for start in times), default=0)
    if within >= STRUCTURING_COUNT:
        hours = int(STRUCTURING_WINDOW.total_seconds() // 3600)
        text = f"{within} cash amounts just below {REPORTING_LIMIT} within {hours} hours"
        yield Reason(rule="structuring", weight=0.5, text=text)


def _country(evidence: Evidence) -> Iterator[Reason]:
    found = sorted({t.country for t in evidence.case.transactions} & HIGH_RISK_COUNTRIES)
    if found:
        yield Reason(rule="country", weight=0.3, text=f"payments to {', '.join(found)}, under a call for action")


def _unusual(evidence: Evidence) -> Iterator[Reason]:
    average = evidence.account.monthly_average
    total = evidence.case.total
    if total > average * UNUSUAL_FACTOR:
        text = f"{total} is more than {UNUSUAL_FACTOR} times the usual monthly turnover of {average}"
        yield Reason(rule="unusual", weight=0.3, text=text)


def _new_account(evidence: Evidence) -> Iterator[Reason]:
    age = _latest(evidence) - evidence.account.opened
    if age < NEW_ACCOUNT and evidence.case.total >= REPORTING_LIMIT:
        yield Reason(rule="new_account", weight=0.15, text=f"{evidence.case.total} on an account that is {age.days} days old")


def _kyc(evidence: Evidence) -> Iterator[Reason]:
    customer = evidence.customer
    if customer.status != "verified":
        yield Reason(rule="kyc_unverified", weight=0.3, text=f"the identity of {customer.customer} is {customer.status}")
    elif _latest(evidence) - customer.reviewed > REVIEW_EVERY:
        yield Reason(rule="kyc_outdated", weight=0.25, text=f"{customer.customer} was last reviewed on {customer.reviewed.isoformat()}")


def _ownership(evidence: Evidence) -> Iterator[Reason]:
    for found in evidence.owners:
        if found.circular:
            text = f"{' and '.join(found.chain)} own each other: nobody is known to own them"
            yield Reason(rule="ownership", weight=0.5, text=text)


def _exposed(evidence: Evidence) -> Iterator[Reason]:
    if evidence.customer.exposed:
        yield Reason(rule="exposed", weight=0.25, text=f"{evidence.account.holder} is a politically exposed person")


def _latest(evidence: Evidence) -> date:
    return max(t.booked_at for t in evidence.case.transactions).date()


_RULES: tuple[Callable[[Evidence], Iterator[Reason]], ...] = (
    _sanctions,
    _structuring,
    _country,
    _unusual,
    _ownership,
    _new_account,
    _kyc,
    _exposed,
)
