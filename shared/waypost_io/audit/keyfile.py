"""The file of signing keys (`WAYPOST_AUDIT_KEY_FILE`): one key a line, the last one is in use. Lines that begin with `#` are comments.

A new key is added below the old ones; the audit logger then needs both, once, to sign the statement by which the new one takes over.
Afterwards the old line may go. The file is read again when it changes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from waypost_core.audit.notes import DEFAULT_NAME, BadNote, SigningKey
from waypost_proto.errors import BadInput, Misconfigured


def read_keys(path: Path) -> list[SigningKey]:
    """The keys, oldest first. Raises `Misconfigured`, which never shows a key."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"WAYPOST_AUDIT_KEY_FILE={str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                found.append(SigningKey.parse(line))
            except BadNote as error:
                raise Misconfigured(f"WAYPOST_AUDIT_KEY_FILE={str(path)!r}, line {number}: {error}") from error
    if not found:
        raise Misconfigured(f"WAYPOST_AUDIT_KEY_FILE={str(path)!r} has no key; make one with `waypost audit new-key {path}`")
    return found


def add_key(path: Path, name: str = DEFAULT_NAME) -> SigningKey:
    """Make a key and add it to the file, which is made, for its owner only, when it is not there. Raises `BadInput`, `Misconfigured`."""
    try:
        key = SigningKey(name, os.urandom(32))
    except BadNote as error:
        raise BadInput(f"--name: {error}") from error
    there = read_keys(path) if path.exists() else []
    old = path.read_text(encoding="utf-8") if there else ""
    if old and not old.endswith("\n"):
        old += "\n"
    _write_secret(path, f"{old}{key.text()}\n")
    return key


def ensure_key(path: Path) -> Sequence[SigningKey]:
    """The keys of the file, which is made with one key when it is not there: for `waypost dev` and `waypost demo`."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        add_key(path)
    return read_keys(path)


def _write_secret(path: Path, text: str) -> None:
    """In one step, so that an audit logger that looks meanwhile reads the old file or the new one."""
    beside = path.with_name(path.name + ".new")
    try:
        beside.unlink(missing_ok=True)
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise BadInput(f"{str(path)!r} cannot be written: {error.strerror or error}") from error
