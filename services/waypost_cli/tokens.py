"""`waypost tokens create|list|rotate|revoke`: keys of people and services, and the file that says who has which."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from waypost_cli.options import AsJson
from waypost_cli.output import print_json, print_table, say
from waypost_proto.errors import BadInput

if TYPE_CHECKING:
    from waypost_io.identities import Identity

File = Annotated[Path | None, Parameter(name="--file", help="The file of identities. WAYPOST_API_TOKENS_FILE if not given.")]
Roles = Annotated[list[str], Parameter(name="--role", help="A role: officer, submitter, operator, admin, auditor, …; may be repeated.")]
Out = Annotated[Path | None, Parameter(name="--out", help="Write the token into this new file instead of printing it.")]
Days = Annotated[float | None, Parameter(name="--days", help="How long it is good; for ever if not given.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Limits:
    """What a token may at most, besides its roles."""

    days: Days = None
    tenant: Annotated[str, Parameter(help='Whose runs it sees and starts; "*" for all.')] = "default"
    agent: Annotated[tuple[str, ...], Parameter(name="--agent", help="Only runs of this agent; may be repeated.")] = ()
    verb: Annotated[tuple[str, ...], Parameter(name="--verb", help="Only this: runs.start, approvals.*, …; may be repeated.")] = ()
    read_only: Annotated[bool, Parameter(name="--read-only", negative="", help="It changes nothing.")] = False
    note: Annotated[str, Parameter(help="For people who read the file.")] = ""


async def create(
    subject: str,
    /,
    *,
    role: Roles = [],  # noqa: B006
    file: File = None,
    out: Out = None,
    limits: Limits = Limits(),
) -> None:
    """Make a token for SUBJECT, print it once, and add its public half to the file of identities.

    Whoever has the token acts as SUBJECT with these roles: in WAYPOST_API_TOKEN, or in a file named by WAYPOST_API_TOKEN_FILE. Running
    coordinators and edges see the new identity within seconds.
    """
    from waypost_cli.identity_file import changing
    from waypost_io.identities import Identity
    from waypost_io.identity import new_token

    if not role:
        raise BadInput("give at least one --role: officer, for example, or submitter to start runs")
    token, key = new_token()
    identity = Identity(
        subject=subject,
        key=key,
        roles=role,
        expires=None if limits.days is None else _later(timedelta(days=_positive("--days", limits.days))),
        tenant=limits.tenant,
        agents=list(limits.agent),
        verbs=list(limits.verb),
        read_only=limits.read_only,
        note=limits.note,
    )
    with changing(_path(file)) as known:
        known.add(identity)
        _hand_over(token, out)
        known.save()
        say(f"{subject} ({', '.join(role)}) is in {known.path}")
    say(f"the token is in {out}" if out is not None else token)


async def list_tokens(*, file: File = None, json: AsJson = False) -> None:
    """List who has a token, with which roles and limits, until when."""
    from waypost_cli.identity_file import IdentityFile

    found = IdentityFile(_path(file)).identities
    if json:
        print_json(found)
        return
    rows = ([i.subject, ", ".join(i.roles), i.tenant, _limits(i), _until(i), i.key] for i in found)
    print_table(["SUBJECT", "ROLES", "TENANT", "LIMITS", "EXPIRES", "KEY"], rows, empty="no identities")


async def rotate(
    named: str,
    /,
    *,
    file: File = None,
    out: Out = None,
    days: Days = None,
    grace_hours: Annotated[float, Parameter(name="--grace-hours", help="How long the old token is still good.")] = 24.0,
) -> None:
    """Make a new token like that of a subject or key; the old one ends after a while.

    Both are good meanwhile. The new one is good for --days, or else as long as the old one was to be.
    """
    from msgspec.structs import replace

    from waypost_cli.identity_file import changing
    from waypost_io.identity import new_token

    if not grace_hours >= 0:
        raise BadInput(f"--grace-hours {grace_hours:g}: how long the old token is still good, 0 or more")
    with changing(_path(file)) as known:
        found = known.find(named)
        if len(found) > 1:
            raise BadInput(f"{named!r} has {len(found)} tokens: name one by the first characters of its key, {_keys(found)}")
        token, key = new_token()
        expires = found[0].expires if days is None else _later(timedelta(days=_positive("--days", days)))
        known.add(replace(found[0], key=key, expires=expires))
        known.expire(found[0].key, _later(timedelta(hours=grace_hours)))
        _hand_over(token, out)
        known.save()
    say(f"{found[0].subject} has a new token; the old one ({found[0].key[:12]}…) is good for {grace_hours:g} more hours at most")
    say(f"the token is in {out}" if out is not None else token)


async def revoke(
    named: str,
    /,
    *,
    file: File = None,
    all_: Annotated[bool, Parameter(name="--all", negative="", help="All tokens of this subject.")] = False,
) -> None:
    """Take a token away: of a subject, or of the key that begins so. Coordinators and edges refuse it within seconds."""
    from waypost_cli.identity_file import changing

    with changing(_path(file)) as known:
        found = known.find(named)
        if len(found) > 1 and not all_:
            raise BadInput(
                f"{named!r} has {len(found)} tokens: name one by the first characters of its key ({_keys(found)}), or give --all"
            )
        for identity in found:
            known.remove(identity.key)
        known.save()
        say(f"{len(found)} of {found[0].subject} revoked; {len(known.identities)} tokens are left in {known.path}")


def _path(file: Path | None) -> Path:
    named = os.environ.get("WAYPOST_API_TOKENS_FILE", "").strip()
    if file is None and not named:
        raise BadInput("which file? give --file identities.toml, or set WAYPOST_API_TOKENS_FILE")
    return (file or Path(named)).expanduser()


def _hand_over(token: str, out: Path | None) -> None:
    """Into a file for its owner only, and never over what is there."""
    if out is None:
        return
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInput(f"--out {out}: {error.strerror or error}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(token + "\n")


def _later(time: timedelta) -> datetime:
    return datetime.now(UTC) + time


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise BadInput(f"{name} {value:g}: how long the token is good, more than 0")
    return value


def _limits(identity: Identity) -> str:
    parts = [f"agents {', '.join(identity.agents)}"] if identity.agents else []
    parts += [f"verbs {', '.join(identity.verbs)}"] if identity.verbs else []
    return "; ".join([*parts, *(["read only"] if identity.read_only else [])])


def _until(identity: Identity) -> str:
    if identity.expires is None:
        return ""
    return identity.expires.isoformat() + (" (expired)" if identity.expires <= datetime.now(UTC) else "")


def _keys(found: list[Identity]) -> str:
    return ", ".join(f"{identity.key[:12]}…" for identity in found)
