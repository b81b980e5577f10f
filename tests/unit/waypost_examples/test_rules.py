"""The risk analyst's rules, one by one and on the file that ships."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from waypost_examples.compliance import rules
from waypost_examples.compliance.cases import read_cases, shipped
from waypost_examples.compliance.legacy.book import book_of
from waypost_examples.compliance.legacy.sanctions import load_list, screen
from waypost_examples.compliance.model import Account, Case, Customer, Evidence, Hit, Ownership, Transaction

ACCOUNT = Account(account="A", customer="K", holder="H", opened=date(2015, 1, 1), monthly_average=Decimal(100_000))
NEW_ACCOUNT = structs.replace(ACCOUNT, opened=date(2026, 1, 1))
CUSTOMER = Customer(customer="K", status="verified", reviewed=date(2025, 6, 1), exposed=False)
MARCH = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)

ORDINARY = Transaction(id="T", booked_at=MARCH, amount=Decimal(100), currency="EUR", counterparty="X", country="DE", kind="transfer")


def transaction(**changes: object) -> Transaction:
    values = {
        "id": "T",
        "booked_at": MARCH,
        "amount": Decimal(100),
        "currency": "EUR",
        "counterparty": "X",
        "country": "DE",
        "kind": "transfer",
    }
    return Transaction(**(values | changes))  # type: ignore[arg-type]


def evidence(
    *transactions: Transaction, account: Account = ACCOUNT, customer: Customer = CUSTOMER, hits: list[Hit] | None = None
) -> Evidence:
    case = Case(id="C", account="A", transactions=list(transactions) or [transaction()])
    return Evidence(case=case, account=account, customer=customer, hits=hits or [])


def applied(given: Evidence) -> list[str]:
    return [reason.rule for reason in rules.assess(given).reasons]


def cash(amount: int, hour: int) -> Transaction:
    return transaction(kind="cash", amount=Decimal(amount), booked_at=datetime(2026, 3, 2 + hour // 24, hour % 24, tzinfo=UTC))


def hit(score: float) -> Hit:
    return Hit(name="X", entry="X Y", sanctions_list="list", score=score)


def test_nothing_to_say_is_no_risk() -> None:
    found = rules.assess(evidence())
    assert (found.risk, found.level, found.reasons) == (0.0, "low", [])


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (evidence(hits=[hit(1.0)]), ["sanctions"]),
        (evidence(hits=[hit(0.5)]), ["sanctions"]),
        (evidence(cash(9_500, 0), cash(9_900, 10), cash(9_000, 48)), ["structuring"]),
        (evidence(cash(9_500, 0), cash(9_900, 10), cash(9_000, 49)), []),
        (evidence(cash(9_500, 0), cash(9_900, 10), cash(10_000, 20)), []),
        (evidence(cash(9_500, 0), cash(9_900, 10), transaction(amount=Decimal(9_500))), []),
        (evidence(transaction(country="KP")), ["country"]),
        (evidence(transaction(amount=Decimal(300_000))), []),
        (evidence(transaction(amount=Decimal(300_001))), ["unusual"]),
        (evidence(transaction(amount=Decimal(10_000)), account=NEW_ACCOUNT), ["new_account"]),
        (evidence(transaction(amount=Decimal(9_999)), account=NEW_ACCOUNT), []),
        (evidence(customer=Customer(customer="K", status="unverified", reviewed=date(2026, 1, 1), exposed=False)), ["kyc_unverified"]),
        (evidence(customer=Customer(customer="K", status="verified", reviewed=date(2024, 3, 1), exposed=False)), ["kyc_outdated"]),
        (evidence(customer=Customer(customer="K", status="verified", reviewed=date(2024, 3, 2), exposed=False)), []),
        (evidence(customer=Customer(customer="K", status="verified", reviewed=date(2025, 3, 2), exposed=True)), ["exposed"]),
    ],
)
def test_when_each_rule_applies(case: Evidence, expected: list[str]) -> None:
    assert applied(case) == expected


def test_owners_in_a_circle_are_a_reason_and_others_are_none() -> None:
    circle = Ownership(chain=["A", "B"], circular=True)
    assert applied(structs.replace(evidence(), owners=[circle])) == ["ownership"]
    assert applied(structs.replace(evidence(), owners=[structs.replace(circle, circular=False)])) == []


def test_only_the_strongest_hit_counts() -> None:
    assert rules.assess(evidence(hits=[hit(0.6)] * 10)).risk == 0.3
    assert rules.assess(evidence(hits=[hit(0.6), hit(1.0)])).risk == 0.75


def test_the_heaviest_reason_comes_first_and_the_sum_decides() -> None:
    found = rules.assess(evidence(transaction(country="IR"), hits=[hit(1.0)]))
    assert [reason.rule for reason in found.reasons] == ["sanctions", "country"]
    assert (found.risk, found.level) == (0.99, "high")


def test_the_file_that_ships_has_both_kinds_of_case() -> None:
    high = {}
    for case in read_cases(shipped()).cases:
        entry = book_of([case.account])[case.account]
        hits = [hit for name in case.counterparties for hit in screen(name, load_list())]
        found = rules.assess(Evidence(case=case, account=entry.account, customer=entry.customer, hits=hits))
        high[case.id] = found.level == "high"
    assert [case for case, is_high in high.items() if is_high] == ["C-1002", "C-1003", "C-1005", "C-1007", "C-1009", "C-1011"]


@given(st.lists(st.decimals(min_value=1, max_value=20_000, places=2), min_size=1, max_size=20), st.booleans(), st.floats(0, 1))
def test_a_risk_is_below_one_and_follows_from_its_reasons(amounts: list[Decimal], exposed: bool, score: float) -> None:
    customer = Customer(customer="K", status="unverified", reviewed=date(2020, 1, 1), exposed=exposed)
    found = rules.assess(
        evidence(*(transaction(amount=a, kind="cash", country="KP") for a in amounts), customer=customer, hits=[hit(score)])
    )
    assert 0 <= found.risk <= 0.99
    assert found.risk == min(0.99, round(sum(reason.weight for reason in found.reasons), 2))
    assert (found.level == "high") == (found.risk >= rules.HIGH_FROM)
