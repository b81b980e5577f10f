"""Each role against each operation, written out: the table in code has to agree with this one, and the page with both."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from waypost_coordinator.api.table import OPERATIONS
from waypost_io.permissions import KNOWN_ROLES, PERMISSIONS, Scope, check, check_verbs, may, refusal, tenant_of_new_runs
from waypost_proto.errors import BadInput, Denied

ROLES = ("submitter", "officer", "operator", "auditor", "admin", "service", "delegate")
"""`officer` stands for every approval role."""
EXPECTED = {
    #                    submitter officer operator auditor admin service delegate
    "runs.start":       "yes       -       yes      -       yes   -       -",
    "runs.signal":      "yes       -       yes      -       yes   -       -",
    "runs.pause":       "-         -       yes      -       yes   -       -",
    "runs.resume":      "-         -       yes      -       yes   -       -",
    "runs.cancel":      "-         -       yes      -       yes   -       -",
    "runs.resolve":     "-         -       yes      -       yes   -       -",
    "runs.fork":        "-         -       yes      -       yes   -       -",
    "runs.redispatch":  "-         -       yes      -       yes   -       -",
    "runs.get":         "yes       yes     yes      yes     yes   -       -",
    "runs.list":        "yes       yes     yes      yes     yes   -       -",
    "runs.events":      "yes       yes     yes      yes     yes   -       -",
    "runs.journal":     "-         -       yes      yes     yes   yes     -",
    "approvals.list":   "yes       yes     yes      yes     yes   -       -",
    "approvals.decide": "yes       yes     yes      -       yes   -       -",
    "agents.list":      "yes       yes     yes      yes     yes   yes     -",
    "tools.list":       "yes       yes     yes      yes     yes   yes     -",
    "dead.list":        "-         -       yes      yes     yes   -       -",
    "dead.show":        "-         -       yes      yes     yes   -       -",
    "dead.redrive":     "-         -       yes      -       yes   -       -",
    "dead.discard":     "-         -       yes      -       yes   -       -",
    "payloads.get":     "yes       yes     yes      yes     yes   yes     -",
    "payloads.put":     "yes       yes     yes      -       yes   yes     -",
    "traces.read":      "yes       yes     yes      yes     yes   -       -",
    "audit.read":       "-         -       -        yes     yes   -       -",
}  # fmt: skip
CHANGING = {
    "runs.start", "runs.signal", "runs.pause", "runs.resume", "runs.cancel", "runs.resolve", "runs.fork", "runs.redispatch",
    "approvals.decide", "dead.redrive", "dead.discard", "payloads.put",
}  # fmt: skip


def test_every_operation_has_its_permission() -> None:
    assert set(EXPECTED) == set(PERMISSIONS)
    assert set(OPERATIONS) <= set(PERMISSIONS)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", sorted(EXPECTED))
def test_a_role_and_an_operation(role: str, operation: str) -> None:
    allowed = EXPECTED[operation].split()[ROLES.index(role)] == "yes"
    assert may(operation, [role]) is allowed
    if allowed:
        check(operation, "ann", [role])
        assert may(operation, [role], Scope(read_only=True)) is (operation not in CHANGING)
        assert may(operation, ["nothing", role])
        assert may(operation, [role], Scope(verbs=frozenset({operation})))
        assert may(operation, [role], Scope(verbs=frozenset({operation.split(".", maxsplit=1)[0] + ".*"})))
        assert not may(operation, [role], Scope(verbs=frozenset({"none.*"})))
    else:
        with pytest.raises(Denied, match=rf"{re.escape(operation)} .*; ann has {role}"):
            check(operation, "ann", [role])


@pytest.mark.parametrize("operation", sorted(EXPECTED))
def test_nobody_without_a_role_may_anything(operation: str) -> None:
    assert not may(operation, [])


def test_what_is_in_no_table_nobody_may() -> None:
    assert "no table" in refusal("runs.explode", sorted(KNOWN_ROLES))


def test_verbs_are_operations() -> None:
    check_verbs(["runs.start", "approvals.*"])
    for wrong in ("runs", "runs.explode", "*", "run.*", ""):
        with pytest.raises(BadInput, match="no operation"):
            check_verbs([wrong])


def test_runs_of_somebody_of_every_tenant_are_the_installations() -> None:
    assert (tenant_of_new_runs("*"), tenant_of_new_runs("bank")) == ("default", "bank")


def test_the_page_shows_the_same_table() -> None:
    page = (Path(__file__).parents[3] / "docs" / "authentication.md").read_text(encoding="utf-8")
    shown = {
        cells[0]: " ".join(cells[1:])
        for cells in ([cell.strip(" `") for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `"))
        if cells[0] in EXPECTED
    }
    assert shown == {operation: " ".join(row.split()) for operation, row in EXPECTED.items()}
