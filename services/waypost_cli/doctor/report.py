"""What a check found, and how it is shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Level = Literal["ok", "warning", "failure", "skipped"]
_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failure": ("✗", "red"), "skipped": ("-", "dim")}


class Finding(Struct, frozen=True, kw_only=True):
    """One check's outcome. `mend` says what to do; every warning and failure has one."""

    check: str
    level: Level
    found: str
    mend: str = ""


def ok(check: str, found: str) -> Finding:
    return Finding(check=check, level="ok", found=found)


def warning(check: str, found: str, mend: str) -> Finding:
    return Finding(check=check, level="warning", found=found, mend=mend)


def failure(check: str, found: str, mend: str) -> Finding:
    return Finding(check=check, level="failure", found=found, mend=mend)


def skipped(check: str, found: str) -> Finding:
    return Finding(check=check, level="skipped", found=found)


def exit_code(findings: Sequence[Finding]) -> int:
    """1 if anything failed; warnings alone are no failure."""
    return 1 if any(finding.level == "failure" for finding in findings) else 0


def show(findings: Sequence[Finding]) -> None:
    """A line per check, and under it what to do."""
    from rich.text import Text

    from waypost_cli.output import console

    screen = console()
    width = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        mark, style = _MARKS[finding.level]
        screen.print(Text.assemble((f"{mark} ", style), (f"{finding.check:<{width}}  ", "bold"), finding.found), soft_wrap=True)
        if finding.mend:
            screen.print(Text(f"{'':<{width + 4}}→ {finding.mend}", style="italic"), soft_wrap=True)
