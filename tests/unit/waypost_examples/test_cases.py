"""From a CSV to cases: what is sound goes on, what is not is named by line, column and value, with what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from waypost_examples.compliance.cases import COLUMNS, MAX_ROWS, UnreadableFile, deadline_of, expected, parse_cases, read_cases, shipped
from waypost_proto.task import parse_deadline

HEADER = ",".join(COLUMNS)
GOOD = {
    "case": "C-1",
    "account": "A-1",
    "transaction": "T-1",
    "booked_at": "2026-03-02T09:15:00Z",
    "amount": "12.50",
    "currency": "EUR",
    "counterparty": "Somebody",
    "country": "DE",
    "kind": "transfer",
}


def row(**changes: str) -> str:
    return ",".join((GOOD | changes).values())


def test_the_file_that_ships_is_sound() -> None:
    file = read_cases(shipped())
    assert file.faults == []
    assert len(file.cases) == 14
    assert sum(len(case.transactions) for case in file.cases) == 26


def test_how_each_case_of_it_should_end_is_known() -> None:
    assert list(expected()) == [case.id for case in read_cases(shipped()).cases]
    assert expected()["C-1005"].notes == ("two officers", "doubt settled by reconcile")
    assert expected()["C-1001"].notes == ()


def test_rows_of_a_case_come_together_in_their_order() -> None:
    file = parse_cases([HEADER, row(), row(case="C-2", transaction="T-2"), row(transaction="T-3", amount="7")])
    assert [(c.id, [t.id for t in c.transactions]) for c in file.cases] == [("C-1", ["T-1", "T-3"]), ("C-2", ["T-2"])]
    assert file.cases[0].total == Decimal("19.50")
    first = file.cases[0].transactions[0]
    assert first.booked_at == datetime(2026, 3, 2, 9, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("case", "", "is not an id"),
        ("case", "C 1", "is not an id"),
        ("account", "A.1", "is not an id"),
        ("transaction", "T" * 65, "is not an id"),
        ("booked_at", "yesterday", "2026-03-02T09:15:00Z"),
        ("booked_at", "2026-02-30T00:00:00Z", "is not a time"),
        ("amount", "ten", "is not an amount"),
        ("amount", "0", "out of range"),
        ("amount", "-5", "out of range"),
        ("amount", "NaN", "out of range"),
        ("amount", "1e400", "out of range"),
        ("amount", "1.005", "two decimals"),
        ("currency", "eur", "currency code"),
        ("counterparty", " ", "is empty"),
        ("counterparty", "x" * 201, "printable"),
        ("counterparty", "a\x00b", "printable"),
        ("country", "GER", "country code"),
        ("country", "ÄÖ", "country code"),
        ("kind", "barter", "transfer, cash, card"),
    ],
)
def test_a_bad_value_is_named_and_the_rest_goes_on(column: str, value: str, says: str) -> None:
    file = parse_cases([HEADER, row(case="C-0", transaction="T-0"), row(**{column: value}), row(case="C-9", transaction="T-9")])
    assert [(fault.line, fault.column, fault.value) for fault in file.faults] == [(3, column, value)]
    assert says in file.faults[0].problem
    assert str(file.faults[0]).startswith(f"line 3, column {column}: ")
    assert [case.id for case in file.cases] == ["C-0", "C-9"]


def test_every_fault_of_a_row_is_found_at_once() -> None:
    file = parse_cases([HEADER, row(amount="x", country="?", kind="?")])
    assert [fault.column for fault in file.faults] == ["amount", "country", "kind"]


def test_a_case_with_a_bad_row_is_held_back_as_a_whole() -> None:
    file = parse_cases([HEADER, row(), row(transaction="T-2", amount="x"), row(transaction="T-3"), row(case="C-2", transaction="T-4")])
    assert [case.id for case in file.cases] == ["C-2"]
    assert file.held_back == ["C-1"]


def test_a_row_too_short_or_too_long() -> None:
    file = parse_cases([HEADER, "C-1,A-1,T-1", f"{row(case='C-2', transaction='T-2')},more", row(case="C-3", transaction="T-3")])
    assert [(f.line, f.column) for f in file.faults] == [(2, c) for c in COLUMNS[3:]] + [(3, "(extra)")]
    assert [case.id for case in file.cases] == ["C-3"]


def test_a_case_has_one_account() -> None:
    file = parse_cases([HEADER, row(), row(transaction="T-2", account="A-2")])
    assert "not 'A-1', the account of case C-1 since line 2" in str(file.faults[0])
    assert file.held_back == ["C-1"]


def test_a_transaction_is_reviewed_once() -> None:
    file = parse_cases([HEADER, row(), row(case="C-2")])
    assert "is on line 2 already" in str(file.faults[0])
    assert [case.id for case in file.cases] == ["C-1"]


def test_line_numbers_count_quoted_line_breaks() -> None:
    file = parse_cases(
        [
            HEADER + "\n",
            '"C-1",A-1,T-1,2026-03-02T09:15:00Z,1,EUR,"two\n',
            'lines",DE,card\n',
            row(case="C-2", transaction="T-2", amount="?"),
        ]
    )
    assert [(f.line, f.column) for f in file.faults] == [(3, "counterparty"), (4, "amount")]


@pytest.mark.parametrize("header", ["", "case,account", HEADER.replace("amount", "Amount")])
def test_a_header_without_a_column_makes_the_file_unusable(header: str) -> None:
    with pytest.raises(UnreadableFile, match="missing; the header must name case, account"):
        parse_cases([header] if header else [])


def test_columns_may_stand_in_any_order_beside_others() -> None:
    names = [*reversed(COLUMNS), "remark"]
    file = parse_cases([",".join(names), ",".join((GOOD | {"remark": "x"})[name] for name in names)])
    assert (len(file.cases), file.faults) == (1, [])


def test_too_many_rows_are_cut_with_a_word() -> None:
    file = parse_cases([HEADER, *(row(case=f"C-{n}", transaction=f"T-{n}") for n in range(MAX_ROWS + 1))])
    assert len(file.cases) == MAX_ROWS
    assert "split the file" in str(file.faults[0])


@pytest.mark.parametrize(("content", "says"), [(b"\xff\xfe", "UTF-8"), (HEADER.encode() + b'\n"open', "not CSV"), (None, "cannot read")])
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "cases.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableFile, match=says):
        read_cases(path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text(f"{HEADER}\n{row()}\n", encoding="utf-8-sig")
    assert len(read_cases(path).cases) == 1


@pytest.mark.parametrize(
    ("changes", "deadline"), [({}, "P30D"), ({"amount": "10000"}, "P1D"), ({"kind": "cash"}, "P1D"), ({"amount": "9999.99"}, "P30D")]
)
def test_large_amounts_and_cash_are_due_within_a_day(changes: dict[str, str], deadline: str) -> None:
    case = parse_cases([HEADER, row(**changes)]).cases[0]
    assert deadline_of(case) == deadline
    assert parse_deadline(deadline, now=0.0) > 0
