"""Who is who: the file of identities (`WAYPOST_API_TOKENS_FILE`), read again when it changes. It holds public keys only.

    [[identity]]
    subject = "ann"
    key = "UAB…"                          # of `waypost tokens create`
    roles = ["officer", "submitter"]
    expires = 2027-01-01T00:00:00Z        # optional, like all that follows
    tenant = "default"                    # "*": every tenant
    agents = ["compliance"]               # only runs of these agents
    verbs = ["runs.*", "approvals.list"]  # only these operations
    read_only = true
    note = "Ann's laptop"

A delegate, an identity with the role `delegate`, acts for people that it has authenticated itself; it may be bounded:

    roles = ["delegate"]
    behalf_roles = ["officer", "submitter"]   # which roles they may have; without it, any but `delegate` and `service`
    behalf_tenants = ["default"]              # of which tenants they may be; without it, of any but "*"

What each role may is `permissions.PERMISSIONS`.
"""

from __future__ import annotations

import datetime as dt
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from waypost_io import permissions
from waypost_io.identity import raw_key
from waypost_io.permissions import ADMIN, AUDITOR, DELEGATE, EVERY_TENANT, OPERATOR, SERVICE, SUBMITTER, Scope
from waypost_proto.errors import BadInput, Denied, Misconfigured
from waypost_proto.signing import Behalf

LOOK_SECONDS = 1.0
"""How often the file's time is looked at for keys that are known, at most. For one that is not it is looked at then and there."""
MAX_SUBJECT_CHARS = 256
log = structlog.get_logger(__name__)

__all__ = ["ADMIN", "AUDITOR", "OPERATOR", "SUBMITTER", "Identities", "Identity", "check", "parse"]


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One token of a person or service. `subject` is what is recorded; `expires` is aware. Several may have one subject."""

    subject: str
    key: str
    roles: list[str]
    expires: dt.datetime | None = None
    tenant: str = "default"
    agents: list[str] = []
    verbs: list[str] = []
    read_only: bool = False
    behalf_roles: list[str] | None = None
    behalf_tenants: list[str] | None = None
    note: str = ""

    def expired(self, now: float) -> bool:
        """At `now`, Unix seconds."""
        return self.expires is not None and self.expires.timestamp() <= now

    @property
    def scope(self) -> Scope:
        return Scope(agents=frozenset(self.agents), verbs=frozenset(self.verbs), read_only=self.read_only)

    def sees(self, tenant: str, agent: str) -> bool:
        """Whether what belongs to that tenant and agent exists for it."""
        return self.tenant in (tenant, EVERY_TENANT) and (not self.agents or agent in self.agents)

    def acting_for(self, behalf: Behalf) -> Identity:
        """The identity of somebody on whose behalf this one signs, within its own limits. Raises `Denied`.

        Roles that it may not hand on are left out, so that a group that a person got at the issuer does not shut them out.
        """
        if DELEGATE not in self.roles:
            raise Denied(f"{self.subject} signed on behalf of {behalf.subject!r}, which needs the role {DELEGATE!r}")
        tenants = self.behalf_tenants
        if behalf.tenant == EVERY_TENANT if tenants is None else behalf.tenant not in tenants:
            raise Denied(f"{self.subject} may not act for somebody of the tenant {behalf.tenant!r}")
        never = {DELEGATE, SERVICE}
        roles = [r for r in behalf.roles if r not in never and (self.behalf_roles is None or r in self.behalf_roles)]
        return msgspec.structs.replace(self, subject=behalf.subject, tenant=behalf.tenant, roles=roles)


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    identity: list[Identity] = []


def parse(text: str, where: str) -> dict[str, Identity]:
    """Identities by key. Raises `Misconfigured` that names the place and what to do."""
    try:
        found = msgspec.convert(tomllib.loads(text), _File).identity
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(f"{where}: {error}") from error
    return check(found, where)


def check(found: Iterable[Identity], where: str) -> dict[str, Identity]:
    """By key, each valid and there once. Raises `Misconfigured`."""
    by_key: dict[str, Identity] = {}
    for number, identity in enumerate(found, 1):
        place = f"{where}: identity {number} ({identity.subject or 'without a subject'})"
        if not identity.subject.strip():
            raise Misconfigured(f"{place}: give it a subject, the name that is recorded")
        if identity.expires is not None and identity.expires.tzinfo is None:
            raise Misconfigured(f"{place}: expires {identity.expires} has no offset: write 2027-01-01T00:00:00Z")
        try:
            raw_key(identity.key)
        except BadInput as error:
            raise Misconfigured(f"{place}: {error}") from error
        _check_more(identity, place)
        if identity.key in by_key:
            raise Misconfigured(f"{place}: its key is that of {by_key[identity.key].subject!r} too")
        by_key[identity.key] = identity
    return by_key


def _check_more(identity: Identity, place: str) -> None:
    try:
        permissions.check_verbs(identity.verbs)
    except BadInput as error:
        raise Misconfigured(f"{place}: verbs: {error}") from error
    if len(identity.subject) > MAX_SUBJECT_CHARS or not identity.subject.isprintable():
        raise Misconfigured(f"{place}: a subject has at most {MAX_SUBJECT_CHARS} printable characters")
    if not identity.tenant.strip() or not identity.tenant.isprintable():
        raise Misconfigured(f"{place}: tenant {identity.tenant!r}: give a name, or leave it out for 'default'")
    if DELEGATE not in identity.roles and not (identity.behalf_roles is None and identity.behalf_tenants is None):
        raise Misconfigured(f"{place}: behalf_roles and behalf_tenants go with the role {DELEGATE!r}")


class Identities:
    """Identities by key, from a file that is watched. A file with an error is told, and what was known before stays."""

    def __init__(self, path: Path | None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises `Misconfigured` when there is a file and it cannot be used."""
        self._path = path
        self._monotonic = monotonic
        self._stamp: tuple[int, int] | None = None
        self._tried: tuple[int, int] | None = None
        self._looked = monotonic()
        self._by_key: dict[str, Identity] = {}
        if path is not None:
            self._stamp = self._tried = _stamp(path)
            self._by_key = parse(_read(path), str(path))

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: str) -> Identity | None:
        """Who has this key: one that was added counts at once, a change to one that was known within `LOOK_SECONDS`."""
        found = self._by_key.get(key)
        if self._path is None:
            return found
        if self._monotonic() - self._looked >= LOOK_SECONDS or (found is None and self._differs(self._path)):
            self._look(self._path)
            return self._by_key.get(key)
        return found

    def _differs(self, path: Path) -> bool:
        """Whether there is a file that nobody has tried to read yet. What could not be read once is told once a second, not per caller."""
        try:
            return _stamp(path) != self._tried
        except Misconfigured:
            return False

    def _look(self, path: Path) -> None:
        self._looked = self._monotonic()
        try:
            stamp = self._tried = _stamp(path)
            if stamp == self._stamp:
                return
            self._by_key = parse(_read(path), str(path))
        except Misconfigured as error:
            log.warning("identities_not_reloaded", error=str(error), kept=len(self._by_key))
            return
        self._stamp = stamp
        log.info("identities_reloaded", count=len(self._by_key))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise Misconfigured(f"WAYPOST_API_TOKENS_FILE={str(path)!r} cannot be read: {error.strerror or error}") from error
    return status.st_mtime_ns, status.st_size


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"WAYPOST_API_TOKENS_FILE={str(path)!r} cannot be read: {error}") from error
