"""Who asks, what they may do, and what signs their requests to the coordinator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from waypost_io import permissions
from waypost_io.identities import Identity
from waypost_io.identity import Signs
from waypost_io.permissions import EVERY_TENANT

How = Literal["nobody", "token", "oidc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Somebody whom the edge has authenticated; without an identity, somebody on a machine where nobody is.

    Hand `signer` to `waypost.client.Client(bus=…, token=caller.signer or "")`: the coordinator then knows who asks, and decides what that
    person may. What the edge reads without it must `check` the operation, and show only what the caller `sees`.
    """

    identity: Identity | None = None
    signer: Signs | None = None
    how: How = "nobody"
    session: bool = False
    """By the cookie of a browser."""
    expires_at: float | None = None
    """Unix seconds: what was sent is good until then; a stream that goes on asks again."""

    @property
    def subject(self) -> str:
        """As recorded; "" for nobody."""
        return "" if self.identity is None else self.identity.subject

    @property
    def roles(self) -> list[str]:
        return [] if self.identity is None else self.identity.roles

    @property
    def tenant(self) -> str | None:
        """The only tenant that exists for the caller; None: all do."""
        return None if self.identity is None or self.identity.tenant == EVERY_TENANT else self.identity.tenant

    def may(self, operation: str) -> bool:
        """Whether to show what does `operation` (`runs.cancel`); the coordinator has the last word."""
        return self.identity is None or permissions.may(operation, self.identity.roles, self.identity.scope)

    def check(self, operation: str) -> None:
        """Raises `Denied` for an operation that none of the caller's roles has."""
        if self.identity is not None:
            permissions.check(operation, self.identity.subject, self.identity.roles, self.identity.scope)

    def sees(self, tenant: str, agent: str) -> bool:
        """Whether what belongs to that tenant and agent exists for the caller: if not, it is *not found*."""
        return self.identity is None or self.identity.sees(tenant, agent)


NOBODY = Caller()
