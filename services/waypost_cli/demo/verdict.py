"""The end: what became of each case against what should have, and whether the regulator has exactly one report of each that was to be
reported; and whether the audit log proves it all. Pure but for printing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from waypost_cli.demo import screen
from waypost_cli.demo.board import Board
from waypost_cli.demo.rows import Row
from waypost_cli.output import STYLES
from waypost_core.audit.report import Report
from waypost_examples.compliance.cases import Expected
from waypost_examples.compliance.legacy.regulator import Counts


@dataclass(frozen=True, slots=True)
class Finding:
    """One case against the regulator's count."""

    row: Row
    expected: int
    received: int
    frozen: int = 0
    """How many orders to freeze the account the freezing office has."""
    should: Expected | None = None
    """How the case should have ended, where that is known."""

    @property
    def right(self) -> bool:
        return not self.wrong

    @property
    def wrong(self) -> str:
        """What is wrong, in words; "" for nothing."""
        outcome = self.row.outcome
        if outcome is None:
            return "it has no decision"
        if self.expected != self.received:
            return f"the regulator has {self.received} of {self.expected} reports"
        orders = int(outcome.freeze_order is not None)
        if self.frozen != orders:
            return f"the freezing office has {self.frozen} of {orders} orders"
        return self._unexpected()

    def _unexpected(self) -> str:
        if self.should is None:
            return ""
        if self.row.decision != self.should.decision:
            return f"decided {self.row.decision!r}, expected {self.should.decision!r}"
        missing = [note for note in self.should.notes if note not in self.row.notes]
        return f"expected: {', '.join(missing)}" if missing else ""


UNREPORTED = ("refused", "denied")


def judge(
    board: Board, counts: Counts, *, frozen: Mapping[str, int] | None = None, expected: Mapping[str, Expected] | None = None
) -> list[Finding]:
    """Every case must have ended with a decision, and with one report, or with none where an officer refused it or the policy denied it.

    `frozen`: how many freezing orders there are for each account. `expected`: how cases should end, where that is known.
    """
    frozen, expected = frozen or {}, expected or {}
    return [
        Finding(
            row,
            0 if row.decision in UNREPORTED else 1,
            counts.by_case.get(row.case.id, 0),
            frozen.get(row.case.account, 0),
            expected.get(row.case.id),
        )
        for row in board.rows.values()
    ]


def show(console: Console, findings: list[Finding]) -> bool:
    """Print the table and the count; whether everything is right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("case", "account", "risk", "decision", "attempts", "state", "report", "at regulator", "notes"):
        table.add_column(column, no_wrap=True)
    for finding in findings:
        row = finding.row
        received = f"{finding.received} of {finding.expected}"
        state = row.status.replace("_", " ")
        table.add_row(
            row.case.id,
            row.case.account,
            screen.risk(row),
            row.decision,
            screen.attempts(row),
            Text(state, style=STYLES.get(row.status, "")),
            Text(row.report_id),
            Text(received, style="green" if finding.expected == finding.received else "bold red"),
            Text(", ".join(row.notes)),
        )
    console.print(table)
    expected, received_all = sum(f.expected for f in findings), sum(f.received for f in findings)
    right = all(finding.right for finding in findings)
    text = f"reports expected {expected}, received by the regulator {received_all}: {_verdict(findings)}"
    console.print(text, style="green" if right else "bold red")
    for finding in findings:
        if problem := finding.row.error or finding.wrong:
            console.print(Text(f"  {finding.row.case.id}: {problem}", style="red"))
        elif finding.row.outcome and finding.row.outcome.reason:
            console.print(Text(f"  {finding.row.case.id}: {finding.row.outcome.reason}"), soft_wrap=True)
    return right


def show_record(console: Console, report: Report) -> bool:
    """Print what the check of the audit log found; whether the record is whole and signed."""
    right = report.ok and report.signed_size > 0 and report.signed_size == report.leaves
    if right:
        text = f"audit log: {report.events} events of {report.runs} runs, each proved under the head signed by key {report.key_id}"
    else:
        text = f"audit log: NOT WHOLE: {report.text}"
    console.print(text, style="green" if right else "bold red", soft_wrap=True)
    for finding in report.findings:
        console.print(Text(f"  {finding.text}", style="red"), soft_wrap=True)
    return right


def _verdict(findings: list[Finding]) -> str:
    wrong = [finding.row.case.id for finding in findings if not finding.right]
    if not wrong:
        return "exactly one for each case" if all(f.expected == 1 for f in findings) else "exactly one for each reported case, none else"
    return f"WRONG for {', '.join(wrong)}"
