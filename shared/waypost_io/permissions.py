"""Who may do what: one table of every operation, reads included, and the limits that one token may have besides. Pure.

An operation is a name with one dot: the endpoints of `waypost.api.*` (`runs.start`), and what the edge answers by itself (`traces.read`,
`audit.read`). A role that is not one of `KNOWN_ROLES` is an approval role such as `officer`: who has one is an *approver*.

The coordinator asks this table for every signed request, and the edge for what it reads without the coordinator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from waypost_proto.errors import BadInput, Denied

SUBMITTER, OPERATOR, AUDITOR, ADMIN, SERVICE, DELEGATE = "submitter", "operator", "auditor", "admin", "service", "delegate"
APPROVER = "approver"
"""In `PERMISSIONS`: whoever has an approval role, whatever its name."""
KNOWN_ROLES: Final = frozenset({SUBMITTER, OPERATOR, AUDITOR, ADMIN, SERVICE, DELEGATE})
EVERY_TENANT = "*"
"""The tenant of an identity that is not bound to one: it reads and acts in all of them, and starts runs in `DEFAULT_TENANT`."""
DEFAULT_TENANT = "default"
"""Also the installation's own: what belongs to no run (a task that could not be one) is its."""


@dataclass(frozen=True, slots=True)
class Permission:
    """Of one operation: `roles` that may do it, and whether it only `reads`."""

    roles: frozenset[str]
    reads: bool = False


def _reading(*more: str) -> Permission:
    return Permission(frozenset({SUBMITTER, APPROVER, OPERATOR, AUDITOR, ADMIN, *more}), reads=True)


def _changing(*roles: str) -> Permission:
    return Permission(frozenset({ADMIN, *roles}))


_SEEING = _reading()
_OVERSEEING = Permission(frozenset({OPERATOR, AUDITOR, ADMIN}), reads=True)

PERMISSIONS: Final[Mapping[str, Permission]] = {
    "runs.start": _changing(SUBMITTER, OPERATOR),
    "runs.signal": _changing(SUBMITTER, OPERATOR),
    "runs.pause": _changing(OPERATOR),
    "runs.resume": _changing(OPERATOR),
    "runs.cancel": _changing(OPERATOR),
    "runs.resolve": _changing(OPERATOR),
    "runs.fork": _changing(OPERATOR),
    "runs.redispatch": _changing(OPERATOR),
    "runs.get": _SEEING,
    "runs.list": _SEEING,
    "runs.events": _SEEING,
    "runs.journal": Permission(frozenset({SERVICE, OPERATOR, AUDITOR, ADMIN}), reads=True),
    "approvals.list": _SEEING,
    "approvals.decide": _changing(APPROVER, SUBMITTER, OPERATOR),
    "agents.list": _reading(SERVICE),
    "tools.list": _reading(SERVICE),
    "dead.list": _OVERSEEING,
    "dead.show": _OVERSEEING,
    "dead.redrive": _changing(OPERATOR),
    "dead.discard": _changing(OPERATOR),
    "payloads.get": _reading(SERVICE),
    "payloads.put": _changing(SUBMITTER, APPROVER, OPERATOR, SERVICE),
    "traces.read": _SEEING,
    "audit.read": Permission(frozenset({AUDITOR, ADMIN}), reads=True),
}
"""`approvals.decide` opens the door only: the approval itself says which role decides it, and no role stands for another there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What one token is limited to besides its roles; empty: to nothing. `agents` are names, `verbs` operations or `runs.*`."""

    agents: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()
    read_only: bool = False

    def sees(self, agent: str) -> bool:
        """Whether runs of `agent` exist for it."""
        return not self.agents or agent in self.agents


UNLIMITED = Scope()


def may(operation: str, roles: list[str], scope: Scope = UNLIMITED) -> bool:
    """Whether somebody with these roles, and a token of this scope, may do `operation`. False for one that is not in the table."""
    return refusal(operation, roles, scope) == ""


def check(operation: str, subject: str, roles: list[str], scope: Scope = UNLIMITED) -> None:
    """Raises `Denied`, which says what would be needed."""
    why = refusal(operation, roles, scope)
    if why:
        raise Denied(f"{operation} {why}; {subject} has {', '.join(roles) or 'none'}")


def refusal(operation: str, roles: list[str], scope: Scope = UNLIMITED) -> str:
    """Why not, to follow the operation's name; "" when it is allowed."""
    permission = PERMISSIONS.get(operation)
    if permission is None:
        return "is in no table of permissions, so nobody may do it"
    if permission.roles.isdisjoint(roles) and not (APPROVER in permission.roles and is_approver(roles)):
        return f"needs one of the roles {', '.join(sorted(permission.roles))}"
    if scope.read_only and not permission.reads:
        return "changes something, and the token may only read"
    if scope.verbs and operation not in scope.verbs and f"{operation.partition('.')[0]}.*" not in scope.verbs:
        return f"is not what the token is for: {', '.join(sorted(scope.verbs))}"
    return ""


def is_approver(roles: list[str]) -> bool:
    """Whether one of these is an approval role."""
    return any(role not in KNOWN_ROLES for role in roles)


def check_verbs(verbs: list[str]) -> None:
    """Raises `BadInput` for one that no operation has."""
    nouns = {f"{name.partition('.')[0]}.*" for name in PERMISSIONS}
    for verb in verbs:
        if verb not in PERMISSIONS and verb not in nouns:
            raise BadInput(f"{verb!r} is no operation: there are {', '.join(sorted(PERMISSIONS))}, and {', '.join(sorted(nouns))}")


def tenant_of_new_runs(tenant: str) -> str:
    """The tenant of runs that somebody of `tenant` starts."""
    return DEFAULT_TENANT if tenant == EVERY_TENANT else tenant
