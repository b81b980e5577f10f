"""From a CSV file to cases. Every fault of the file is found in one pass; what is sound goes on.

A case with a faulty row is held back as a whole: deciding it without one of its transactions could decide it wrongly.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from importlib import resources
from pathlib import Path
from typing import Any

from waypost_examples.compliance.model import Case, Transaction

COLUMNS = ("case", "account", "transaction", "booked_at", "amount", "currency", "counterparty", "country", "kind")
MAX_ROWS = 10_000
MAX_AMOUNT = Decimal(1_000_000_000)
MAX_TEXT_CHARS = 200

LARGE = Decimal(10_000)
"""From this amount on a transaction must be looked at within a day."""

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KINDS = ("transfer", "cash", "card")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with the file. `line` is the line number in the file, 1 for the header; `case` where it could be read."""

    line: int
    column: str
    value: str
    problem: str
    case: str = ""

    def __str__(self) -> str:
        value = self.value if len(self.value) <= 60 else f"{self.value[:57]}..."
        return f"line {self.line}, column {self.column}: {value!r} {self.problem}"


@dataclass(frozen=True, slots=True)
class CaseFile:
    """What a file holds: sound cases in order of appearance, faults in order of line, and cases held back for a fault."""

    cases: list[Case]
    faults: list[Fault]
    held_back: list[str] = field(default_factory=list)


class UnreadableFile(Exception):
    """The file as a whole cannot be used; the message says why and what to do."""


def shipped() -> Path:
    """The CSV that comes with the desk."""
    return Path(str(resources.files("waypost_examples.compliance") / "transactions.csv"))


@dataclass(frozen=True, slots=True)
class Expected:
    """How a case of the CSV that ships ends when nobody interferes, and what has to happen on the way."""

    decision: str
    notes: tuple[str, ...]


def expected() -> dict[str, Expected]:
    """How each case of the CSV that ships ends, with the legacy systems' usual schedule of failures."""
    text = (resources.files("waypost_examples.compliance") / "expected.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["case"]: Expected(row["decision"], tuple(note for note in row["notes"].split(";") if note)) for row in rows}


def read_cases(path: Path) -> CaseFile:
    """Read `path`. Raises `UnreadableFile` when there is no such file, it is not UTF-8, or its header lacks a column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return parse_cases(lines)
    except OSError as error:
        raise UnreadableFile(f"cannot read {path}: {error.strerror}; give the path of a CSV file") from error
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path} is not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8") from error
    except csv.Error as error:
        raise UnreadableFile(f"{path} is not CSV: {error}") from error


def parse_cases(lines: Iterable[str]) -> CaseFile:
    """Parse CSV lines, header first. Raises `UnreadableFile` for a header that lacks a column."""
    reader = csv.DictReader(lines, restkey="_more", strict=True)
    _check_header(reader.fieldnames)
    builder = _Builder()
    for row in reader:
        if len(builder.ids) >= MAX_ROWS:
            builder.faults.append(Fault(reader.line_num, "case", "", f"comes after {MAX_ROWS} rows; split the file"))
            break
        builder.add(reader.line_num, row)
    return builder.result()


def deadline_of(case: Case) -> str:
    """The regulatory deadline as an ISO 8601 duration: a day when a large amount or cash is involved, 30 days otherwise."""
    urgent = any(t.amount >= LARGE or t.kind == "cash" for t in case.transactions)
    return "P1D" if urgent else "P30D"


def _check_header(names: Iterable[str] | None) -> None:
    present = list(names or ())
    missing = [column for column in COLUMNS if column not in present]
    if missing:
        found = ", ".join(present) or "nothing"
        raise UnreadableFile(f"line 1: column {', '.join(missing)} is missing; the header must name {', '.join(COLUMNS)}; found {found}")


class _Builder:
    """Collects rows into cases and faults; `ids` maps each transaction id to the line it was first seen on."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.ids: dict[str, int] = {}
        self._accounts: dict[str, tuple[str, int]] = {}
        self._rows: dict[str, list[Transaction]] = {}
        self._held: dict[str, None] = {}

    def add(self, line: int, row: dict[str, Any]) -> None:
        case = (row.get("case") or "").strip()
        before = len(self.faults)
        values = self._values(line, row)
        if case in self._accounts or "account" in values:
            self._check_account(line, case, values.get("account"))
        if "transaction" in values:
            self._check_new(line, case, values["transaction"])
        if len(self.faults) > before:
            if _TOKEN.fullmatch(case):
                self._held[case] = None
            return
        rest = {name: values[name] for name in COLUMNS[3:]}
        self._rows.setdefault(case, []).append(Transaction(id=values["transaction"], **rest))

    def result(self) -> CaseFile:
        cases = [
            Case(id=case, account=self._accounts[case][0], transactions=rows) for case, rows in self._rows.items() if case not in self._held
        ]
        return CaseFile(cases=cases, faults=self.faults, held_back=list(self._held))

    def _values(self, line: int, row: dict[str, Any]) -> dict[str, Any]:
        """The parsed value of each column that is sound; a fault for each that is not."""
        case = (row.get("case") or "").strip()
        values: dict[str, Any] = {}
        if row.get("_more"):
            extra = row["_more"][0]
            self.faults.append(Fault(line, "(extra)", extra, "is one field too many; quote a text that holds a comma", case))
        for column in COLUMNS:
            text = row.get(column)
            if text is None:
                self.faults.append(Fault(line, column, "", f"is missing; a row needs all of {len(COLUMNS)} columns", case))
                continue
            try:
                values[column] = _PARSERS[column](text.strip())
            except ValueError as error:
                self.faults.append(Fault(line, column, text, str(error), case))
        return values

    def _check_account(self, line: int, case: str, account: str | None) -> None:
        if account is None or not _TOKEN.fullmatch(case):
            return
        first, first_line = self._accounts.setdefault(case, (account, line))
        if account != first:
            problem = f"is not {first!r}, the account of case {case} since line {first_line}; a case has one account, use another case"
            self.faults.append(Fault(line, "account", account, problem, case))

    def _check_new(self, line: int, case: str, transaction: str) -> None:
        first_line = self.ids.setdefault(transaction, line)
        if first_line != line:
            problem = f"is on line {first_line} already; a transaction is reviewed once, remove one of them"
            self.faults.append(Fault(line, "transaction", transaction, problem, case))


def _token(text: str) -> str:
    if _TOKEN.fullmatch(text) is None:
        raise ValueError("is not an id; use 1 to 64 letters, digits, '-' and '_'")
    return text


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a time; write it like 2026-03-02T09:15:00Z") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _amount(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError("is not an amount; write digits with a point, like 1250.00") from None
    if not amount.is_finite() or not 0 < amount <= MAX_AMOUNT:
        raise ValueError(f"is out of range; an amount is above 0 and at most {MAX_AMOUNT}")
    if amount != round(amount, 2):
        raise ValueError("has more than two decimals; round it")
    return round(amount, 2)


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty; name the other party")
    if len(text) > MAX_TEXT_CHARS or not text.isprintable():
        raise ValueError(f"is not a name; use at most {MAX_TEXT_CHARS} printable characters")
    return text


def _code(length: int, what: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if len(text) != length or not (text.isascii() and text.isalpha() and text.isupper()):
            raise ValueError(f"is not a {what} code; use {length} capital letters")
        return text

    return parse


def _kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError(f"is not a kind of transaction; use one of {', '.join(_KINDS)}")
    return text


_PARSERS: dict[str, Callable[[str], Any]] = {
    "case": _token,
    "account": _token,
    "transaction": _token,
    "booked_at": _moment,
    "amount": _amount,
    "currency": _code(3, "currency"),
    "counterparty": _text,
    "country": _code(2, "country"),
    "kind": _kind,
}
