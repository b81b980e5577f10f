"""Faults follow from the seed, happen in a bounded number, and each kind happens on the file that ships."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost_examples.compliance.cases import read_cases, shipped
from waypost_examples.compliance.legacy import core_banking, kyc, regulator, sanctions
from waypost_examples.compliance.legacy.book import book_of
from waypost_examples.compliance.legacy.faults import DEMO_SEED, FaultClock, FaultKind, FaultPlan, lot_of

PLANS = [core_banking.plan, kyc.plan, sanctions.plan, regulator.plan, regulator.asking_plan]


@pytest.mark.parametrize("plan", PLANS)
@given(seed=st.integers(), key=st.text())
def test_no_key_fails_for_ever(plan, seed: int, key: str) -> None:
    faults = plan(seed)
    assert faults.fault(key, faults.most_in_a_row + 1) is FaultKind.NONE
    assert all(faults.fault(key, nth) is not FaultKind.NONE for nth in range(1, faults.failures(key) + 1))


def test_the_schedule_does_not_depend_on_the_order_of_requests() -> None:
    one, other = FaultClock(sanctions.plan(3)), FaultClock(sanctions.plan(3))
    keys = [f"K{n}" for n in range(50)]
    assert {k: one.next(k) for k in keys} == {k: other.next(k) for k in reversed(keys)}


def test_another_seed_is_another_schedule() -> None:
    keys = [f"K{n}" for n in range(50)]
    assert [sanctions.plan(1).fault(k, 1) for k in keys] != [sanctions.plan(2).fault(k, 1) for k in keys]


def test_shares_are_kept() -> None:
    plan = FaultPlan(service="s", shares={FaultKind.SLOW: 0.3, FaultKind.LOST: 0.2})
    found = [plan.fault(str(n), 1) for n in range(2000)]
    assert 0.25 < found.count(FaultKind.SLOW) / 2000 < 0.35
    assert 0.15 < found.count(FaultKind.LOST) / 2000 < 0.25


@given(st.integers(), st.lists(st.text()))
def test_a_lot_is_in_the_unit_interval(seed: int, parts: list[str]) -> None:
    assert 0 <= lot_of(seed, *parts) < 1


def test_the_demo_shows_every_kind_of_failure() -> None:
    cases = read_cases(shipped()).cases
    customers = [entry.customer.customer for entry in book_of(c.account for c in cases).values()]
    names = [name for case in cases for name in case.counterparties]
    assert sum(core_banking.plan(DEMO_SEED).failures(c.account) > 0 for c in cases) >= 2
    assert {FaultKind.SLOW, FaultKind.LOST} <= {kyc.plan(DEMO_SEED).fault(c, 1) for c in customers}
    assert {FaultKind.SLOW, FaultKind.UNAVAILABLE} <= {sanctions.plan(DEMO_SEED).fault(n, 1) for n in names}
    assert {FaultKind.LATE, FaultKind.LOST, FaultKind.UNAVAILABLE} <= {regulator.plan(DEMO_SEED).fault(c.id, 1) for c in cases}


def test_any_account_has_a_book_entry_and_it_is_always_the_same() -> None:
    assert book_of(["X-1"], 5)["X-1"] == book_of(["X-2", "X-1"], 5)["X-1"]
    assert book_of(["ACC-1005"], 1) == book_of(["ACC-1005"], 2)
    assert book_of(["X-1"])["X-1"].account.customer == book_of(["X-1"])["X-1"].customer.customer
