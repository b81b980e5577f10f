"""What a policy is asked and what it answers. Values only."""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct

from waypost_proto.values import AtLeastOne, BudgetLeft, Effect, Positive

_TERMS = re.compile(r"(.+)\*(\d+)")


class PolicyRequest(Struct, frozen=True, kw_only=True):
    """A call about to be made. `arguments` is the decoded JSON object, exactly as it will be given to the tool.

    `taint` is what the run has been given so far, `budget_left` what it may still use (None: nobody said).
    """

    agent: str
    tool: str
    effect: Effect
    arguments: dict[str, Any] = {}
    taint: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    tenant: str = "default"
    budget_left: BudgetLeft | None = None
    run_id: str = ""


class Terms(Struct, frozen=True, kw_only=True):
    """Who must approve: `quorum` people with `role`. Written as `officer*2`."""

    role: str
    quorum: AtLeastOne = 1

    def __str__(self) -> str:
        return f"{self.role}*{self.quorum}"

    def met_by(self, given: str) -> bool:
        """Whether an approval that was given on `given` (terms as text) is enough: the same role, at least as many people."""
        match = _TERMS.fullmatch(given)
        return match is not None and match[1] == self.role and int(match[2]) >= self.quorum


class Allow(Struct, frozen=True, kw_only=True):
    """The call may be made."""

    rule: str = ""


class Deny(Struct, frozen=True, kw_only=True):
    """The call may not be made, and nobody can approve it."""

    reason: str = ""
    rule: str = ""


class RequireApproval(Struct, frozen=True, kw_only=True):
    """People must approve exactly this call first."""

    role: str
    quorum: AtLeastOne = 1
    expires_seconds: Positive = 48 * 3600.0
    on_expiry: Literal["deny", "escalate"] = "deny"
    escalate_to: str = ""
    separate: bool = True
    reason: str = ""
    rule: str = ""

    @property
    def terms(self) -> Terms:
        return Terms(role=self.role, quorum=self.quorum)


Verdict = Allow | Deny | RequireApproval
ALLOWED = Allow()
