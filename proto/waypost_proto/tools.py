"""Between coordinator and gateway: the tool call. Its answers are the `ToolMail` of `mailbox`."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Raw, UnsetType

from waypost_proto.ids import CallId, RunId
from waypost_proto.values import BlobRef, BudgetLeft, Count, Effect, Value


class ToolCall(Value, frozen=True, kw_only=True):
    """One attempt of one call, on `waypost.tools.<tool>`.

    `permit`: the gateway must first move the ledger row (run_id, call_id) from `permitted` to `started`, which also
    checks `attempt`, `args_digest` and `approval_id`; without a row to move it answers `ToolRefused`. `mode`
    `reconcile` asks the hook instead of running the tool. `emission` rises each time the call is derived again;
    it makes the message id new and nothing else. `labels`, `taint` (of everything that the run's code has been given) and
    `budget_left` are for the gateway's policy, `approval_terms` (`officer*2`) says on what terms `approval_id` was asked for.
    """

    run_id: RunId
    call_id: CallId
    agent: str
    tool: str
    attempt: Count
    emission: Count = 0
    mode: Literal["execute", "reconcile"] = "execute"
    effect: Effect
    args: Raw | UnsetType = UNSET
    args_ref: BlobRef | UnsetType = UNSET
    args_digest: str
    idempotency_key: str
    timeout_seconds: float | None = None
    deadline_at: float | None = None
    permit: bool = False
    approval_id: str | None = None
    correlation_id: str = ""
    tenant: str = "default"
    labels: dict[str, str] = {}
    taint: tuple[str, ...] = ()
    budget_left: BudgetLeft | None = None
    approval_terms: str = ""
    v: int = 1
    sender: str = ""
    """The coordinator that sent it: answers to the same one may share a message (`mailbox.MailFrame`). "": it takes none."""
