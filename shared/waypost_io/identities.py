"""Who is who: the file of identities (`WAYPOST_API_TOKENS_FILE`), read again when it changes. It holds public keys only.

    [[identity]]
    subject = "ann"
    key = "UAB…"                          # of `waypost tokens create`
    roles = ["officer", "submitter"]
    expires = 2027-01-01T00:00:00Z        # optional
    tenant = "default"                    # optional

Roles are free words; these mean something besides: `submitter` starts runs, `operator` pauses, resumes, cancels, signals and resolves,
`admin` does both; `auditor` only reads. None of them approves anything that asks for another role.
"""

from __future__ import annotations

import datetime as dt
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from waypost_io.identity import raw_key
from waypost_proto.errors import BadInput, Misconfigured

LOOK_SECONDS = 1.0
"""How often the file's time is looked at, at most."""
SUBMITTER, OPERATOR, AUDITOR, ADMIN = "submitter", "operator", "auditor", "admin"
log = structlog.get_logger(__name__)


class Identity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One person or service. `subject` is what is recorded; `expires` is aware."""

    subject: str
    key: str
    roles: list[str]
    expires: dt.datetime | None = None
    tenant: str = "default"

    def expired(self, now: float) -> bool:
        """At `now`, Unix seconds."""
        return self.expires is not None and self.expires.timestamp() <= now


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
        if identity.key in by_key:
            raise Misconfigured(f"{place}: its key is that of {by_key[identity.key].subject!r} too")
        by_key[identity.key] = identity
    return by_key


class Identities:
    """Identities by key, from a file that is watched. A file with an error is told, and what was known before stays."""

    def __init__(self, path: Path | None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises `Misconfigured` when there is a file and it cannot be used."""
        self._path = path
        self._monotonic = monotonic
        self._stamp: tuple[int, int] | None = None
        self._looked = monotonic()
        self._by_key: dict[str, Identity] = {}
        if path is not None:
            self._stamp = _stamp(path)
            self._by_key = parse(_read(path), str(path))

    def __len__(self) -> int:
        return len(self._by_key)

    def find(self, key: str) -> Identity | None:
        """Who has this key, by the file as it is now or was a moment ago."""
        if self._path is not None and self._monotonic() - self._looked >= LOOK_SECONDS:
            self._look(self._path)
        return self._by_key.get(key)

    def _look(self, path: Path) -> None:
        self._looked = self._monotonic()
        try:
            stamp = _stamp(path)
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
