"""What a running tool knows about its call, and the answer of a reconcile hook. Built by the gateway."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from waypost.metering import Dollars, Meter
from waypost_proto.errors import WaypostError
from waypost_proto.taint import check_label


class NotDone(enum.Enum):
    """Type of `NOT_DONE`."""

    NOT_DONE = "not_done"


NOT_DONE: Final = NotDone.NOT_DONE
"""What a reconcile hook returns when the effect surely did not take place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """Optional first parameter of a tool. Every field has a default so that a test can make one.

    `idempotency_key` is the same for every attempt of a call: give it to the service that is called. `attempt`
    counts from 1. `deadline` is when the attempt will be stopped (aware, UTC), None without a limit.
    """

    idempotency_key: str = "test-key"
    run_id: str = "00000000-0000-7000-8000-000000000000"
    call_id: str = "0:1"
    agent: str = "test"
    tool: str = ""
    attempt: int = 1
    deadline: datetime | None = None
    tenant: str = "default"
    correlation_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the run."""
    taint: tuple[str, ...] = ()
    """Taint labels of the run when the call was sent; `mark` adds labels to this call's result."""
    traceparent: str = ""
    """W3C trace context of the event that caused the call: pass it on to the service that is called."""
    secrets: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """What `secret` looks into; a test gives a dict, the gateway what it has loaded."""
    marks: set[str] = field(default_factory=set, compare=False, repr=False)
    log: Any = field(default_factory=lambda: structlog.get_logger("waypost.tool"), compare=False, repr=False)
    """A structlog logger, bound to the call by the gateway."""
    meter: Meter = field(default_factory=Meter, compare=False, repr=False)

    def spent(self, *, tokens: int = 0, cost_usd: Dollars = 0) -> None:
        """Say what this attempt has used; several reports add up. A tool that says nothing has used what it reserved
        (`@tool(max_tokens=…, max_cost_usd=…)`). Raises `ValueError` for negative amounts."""
        self.meter.add(tokens=tokens, cost_usd=cost_usd)

    def secret(self, name: str) -> str:
        """A secret of the gateway: `secret("bank-token")` is `WAYPOST_SECRET_BANK_TOKEN`, or `bank-token` of `WAYPOST_SECRETS_FILE`.

        Ask at each call and do not keep it: secrets are replaced while the gateway runs. Raises `SecretMissing`.
        """
        try:
            return self.secrets[name]
        except KeyError:
            variable = f"WAYPOST_SECRET_{name.upper().replace('-', '_')}"
            raise SecretMissing(f"no secret {name!r}: set {variable} for the gateway, or put {name!r} into WAYPOST_SECRETS_FILE") from None

    def mark(self, *labels: str) -> None:
        """Label what this call returns, or raises, as coming from outside: `ctx.mark("web")`. Raises `BadInput` for what is no label."""
        self.marks.update(check_label(label) for label in labels)


class SecretMissing(WaypostError):
    """A tool asked for a secret that its gateway does not have."""
