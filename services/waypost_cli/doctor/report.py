"""What a check found, and how it is shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from waypost_cli.exits import UNREACHABLE

Level = Literal["ok", "warning", "failure", "skipped"]
_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failure": ("✗", "red"), "skipped": ("-", "dim")}


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One check's outcome. `mend` says what to do; every warning and failure has one."""

    check: str
    level: Level
    found: str
    mend: str = ""
    unreachable: bool = False
    """A server cannot be reached at all."""


def ok(check: str, found: str) -> Finding:
    return Finding(check=check, level="ok", found=found)


def warning(check: str, found: str, mend: str) -> Finding:
    return Finding(check=check, level="warning", found=found, mend=mend)


def failure(check: str, found: str, mend: str) -> Finding:
    return Finding(check=check, level="failure", found=found, mend=mend)


def unreachable(check: str, found: str, mend: str) -> Finding:
    """A failure that ends `doctor` with exit code 3."""
    return Finding(check=check, level="failure", found=found, mend=mend, unreachable=True)


def skipped(check: str, found: str) -> Finding:
    return Finding(check=check, level="skipped", found=found)


def exit_code(findings: Sequence[Finding]) -> int:
    """3 if a server cannot be reached, 1 if anything else failed; warnings alone are no failure."""
    if any(finding.unreachable for finding in findings):
        return UNREACHABLE
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
