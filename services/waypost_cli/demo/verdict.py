"""The end: what became of each case, and whether the regulator has exactly one report of each. Pure but for printing."""

from __future__ import annotations

from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from waypost_cli.demo import screen
from waypost_cli.demo.board import Board, Row
from waypost_cli.output import STYLES
from waypost_examples.compliance.legacy.regulator import Counts


@dataclass(frozen=True, slots=True)
class Finding:
    """One case against the regulator's count."""

    row: Row
    expected: int
    received: int

    @property
    def right(self) -> bool:
        return self.row.outcome is not None and self.expected == self.received


def judge(board: Board, counts: Counts) -> list[Finding]:
    """Every case must have ended with a decision, and with one report, or with none where an officer refused it."""
    return [Finding(row, 0 if row.decision == "refused" else 1, counts.by_case.get(row.case.id, 0)) for row in board.rows.values()]


def show(console: Console, findings: list[Finding]) -> bool:
    """Print the table and the count; whether everything is right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("case", "account", "risk", "decision", "attempts", "state", "report", "at regulator"):
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
            Text(received, style="green" if finding.right else "bold red"),
        )
    console.print(table)
    expected, received_all = sum(f.expected for f in findings), sum(f.received for f in findings)
    right = all(finding.right for finding in findings)
    text = f"reports expected {expected}, received by the regulator {received_all}: {_verdict(findings)}"
    console.print(text, style="green" if right else "bold red")
    for finding in findings:
        if finding.row.error:
            console.print(Text(f"  {finding.row.case.id}: {finding.row.error}", style="red"))
    return right


def _verdict(findings: list[Finding]) -> str:
    wrong = [finding.row.case.id for finding in findings if not finding.right]
    if not wrong:
        return "exactly one for each case" if all(f.expected == 1 for f in findings) else "exactly as decided"
    return f"WRONG for {', '.join(wrong)}"
