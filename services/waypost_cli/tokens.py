"""`waypost tokens create|list`: keys of people and services, and the file that says who has which."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from waypost_cli.options import AsJson
from waypost_cli.output import print_json, print_table, say
from waypost_proto.errors import BadInput

File = Annotated[Path | None, Parameter(name="--file", help="The file of identities. WAYPOST_API_TOKENS_FILE if not given.")]
Roles = Annotated[list[str], Parameter(name="--role", help="A role: officer, submitter, operator, admin, auditor, …; may be repeated.")]


async def create(
    subject: str,
    /,
    *,
    role: Roles = [],  # noqa: B006
    file: File = None,
    out: Annotated[Path | None, Parameter(name="--out", help="Write the token into this new file instead of printing it.")] = None,
    days: Annotated[float | None, Parameter(name="--days", help="How long it is good; for ever if not given.")] = None,
) -> None:
    """Make a token for SUBJECT, print it once, and add its public half to the file of identities.

    Whoever has the token acts as SUBJECT with these roles: in WAYPOST_API_TOKEN, or in a file named by WAYPOST_API_TOKEN_FILE. Running
    coordinators see the new identity within a second.
    """
    from waypost_io.identities import parse
    from waypost_io.identity import new_token

    if not role:
        raise BadInput("give at least one --role: officer, for example, or submitter to start runs")
    path = _path(file)
    token, key = new_token()
    entry = _entry(subject, key, role, days)
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    text = known + ("\n" if known and not known.endswith("\n\n") else "") + entry
    parse(text, str(path))
    if out is not None:
        _write_secret(out, token)
    _replace(path, text)
    say(f"{subject} ({', '.join(role)}) is in {path}")
    say(f"the token is in {out}" if out is not None else token)


async def list_tokens(*, file: File = None, json: AsJson = False) -> None:
    """List who has a token, with which roles, until when."""
    from waypost_io.identities import parse

    path = _path(file)
    try:
        found = list(parse(path.read_text(encoding="utf-8"), str(path)).values())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from error
    if json:
        print_json(found)
        return
    rows = ([i.subject, ", ".join(i.roles), i.tenant, i.expires.isoformat() if i.expires else "", i.key] for i in found)
    print_table(["SUBJECT", "ROLES", "TENANT", "EXPIRES", "KEY"], rows, empty="no identities")


def _path(file: Path | None) -> Path:
    named = os.environ.get("WAYPOST_API_TOKENS_FILE", "").strip()
    if file is None and not named:
        raise BadInput("which file? give --file identities.toml, or set WAYPOST_API_TOKENS_FILE")
    return (file or Path(named)).expanduser()


def _entry(subject: str, key: str, roles: list[str], days: float | None) -> str:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    lines = ["[[identity]]", f"subject = {quoted(subject)}", f"key = {quoted(key)}", f"roles = [{', '.join(map(quoted, roles))}]"]
    if days is not None:
        if not days > 0:
            raise BadInput(f"--days {days:g}: how long the token is good, more than 0")
        lines.append(f"expires = {(datetime.now(UTC) + timedelta(days=days)).strftime('%Y-%m-%dT%H:%M:%SZ')}")
    return "\n".join(lines) + "\n"


def _write_secret(path: Path, text: str) -> None:
    """For its owner only, and never over what is there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BadInput(f"--out {path}: {error.strerror or error}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def _replace(path: Path, text: str) -> None:
    """In one step: a coordinator that looks meanwhile reads the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
