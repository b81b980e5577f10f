"""The file of identities as text: entries are added, changed and taken out without touching what else a person wrote into it."""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from waypost_io.identities import Identity, parse
from waypost_proto.errors import BadInput

_ENTRY = re.compile(r"^[ \t]*\[\[[ \t]*identity[ \t]*\]\][ \t]*(#.*)?$", re.MULTILINE)
_TRAILING = re.compile(r"(?:^[ \t]*(?:#.*)?\n)+\Z", re.MULTILINE)
_EXPIRES = re.compile(r"^[ \t]*expires[ \t]*=.*$", re.MULTILINE)


class IdentityFile:
    """One file, read when it is made. Raises `BadInput` when it cannot be read, `Misconfigured` when it says nothing sensible."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self.path = path
        try:
            self._text = "" if new and not path.exists() else path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{path} cannot be read: {error}") from error
        self.identities: list[Identity] = list(parse(self._text, str(path)).values())

    def find(self, named: str) -> list[Identity]:
        """Those with this subject or key (its beginning, 8 characters at least). Raises `BadInput` when there is none."""
        found = [i for i in self.identities if named == i.subject or (len(named) >= 8 and i.key.startswith(named))]
        if not found:
            raise BadInput(f"nobody in {self.path} has the subject or key {named!r}: `waypost tokens list` shows them")
        return found

    def add(self, identity: Identity) -> None:
        """At the end."""
        gap = "\n" if self._text and not self._text.endswith("\n\n") else ""
        self._change(self._text + gap + entry_of(identity))

    def remove(self, key: str) -> None:
        """Take the entry with this key out."""
        self._change("".join(part for part, of in self._parts() if of != key))

    def expire(self, key: str, at: datetime) -> None:
        """The entry with this key is good until `at`, or until when it was if that is sooner."""
        identity = next(i for i in self.identities if i.key == key)
        if identity.expires is not None and identity.expires <= at:
            return
        line = f"expires = {_time(at)}"

        def changed(part: str) -> str:
            return _EXPIRES.sub(line, part, count=1) if _EXPIRES.search(part) else part.replace("\n", f"\n{line}\n", 1)

        self._change("".join(changed(part) if of == key else part for part, of in self._parts()))

    def save(self) -> None:
        """In one step: a coordinator that looks meanwhile reads the old file or the new one. Keeps its mode."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(self.path.name + ".new")
        beside.write_text(self._text, encoding="utf-8")
        if self.path.exists():
            beside.chmod(self.path.stat().st_mode & 0o777)
        beside.replace(self.path)

    def _change(self, text: str) -> None:
        self.identities = list(parse(text, str(self.path)).values())
        self._text = text

    def _parts(self) -> list[tuple[str, str]]:
        """(text, key of its entry or ""), which make up the file; comments above an entry are the entry's."""
        starts = [match.start() for match in _ENTRY.finditer(self._text)]
        pieces = [self._text[a:b] for a, b in zip([0, *starts], [*starts, len(self._text)], strict=True)]
        for number in range(len(pieces) - 1):
            comments = _TRAILING.search(pieces[number])
            if comments is not None:
                pieces[number], pieces[number + 1] = pieces[number][: comments.start()], comments.group() + pieces[number + 1]
        return [(piece, next(iter(parse(piece, str(self.path))), "")) for piece in pieces]


@contextmanager
def changing(path: Path) -> Iterator[IdentityFile]:
    """The file while nobody else changes it: of two commands at once neither undoes the other. Nothing is written but by `save`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield IdentityFile(path, new=True)
    finally:
        os.close(descriptor)


def entry_of(identity: Identity) -> str:
    """As it stands in the file."""
    lines = ["[[identity]]", f"subject = {_quoted(identity.subject)}", f"key = {_quoted(identity.key)}", f"roles = {_list(identity.roles)}"]
    if identity.expires is not None:
        lines.append(f"expires = {_time(identity.expires)}")
    if identity.tenant != "default":
        lines.append(f"tenant = {_quoted(identity.tenant)}")
    for name, values in (
        ("agents", identity.agents),
        ("verbs", identity.verbs),
        ("behalf_roles", identity.behalf_roles),
        ("behalf_tenants", identity.behalf_tenants),
    ):
        if values:
            lines.append(f"{name} = {_list(values)}")
    if identity.read_only:
        lines.append("read_only = true")
    if identity.note:
        lines.append(f"note = {_quoted(identity.note)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _list(values: list[str]) -> str:
    return f"[{', '.join(map(_quoted, values))}]"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
