"""The keys of one log, in the order in which they signed, and whether a head may have been signed by the one that signed it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from waypost_core.audit.heads import Head, KeyStatement
from waypost_core.audit.notes import BadNote, Note, VerifierKey


@dataclass(frozen=True, slots=True)
class _Reign:
    """A key signs heads of more than `above` leaves, and of at most `up_to` (None: it still signs)."""

    key: VerifierKey
    above: int
    up_to: int | None


class Keyring:
    """Built from the log's statements; `trusted` keys come from elsewhere.

    Without trusted keys the chain is taken at its word, which proves only that it is consistent. With some, one of them must be in
    it: the statements lead from there to the others. `problems` says what does not hold.
    """

    def __init__(self, statements: Iterable[str], trusted: Sequence[VerifierKey] = ()) -> None:
        self.problems: list[str] = []
        self.statements: list[KeyStatement] = []
        for number, note in enumerate(statements, 1):
            self._add(number, note)
        ends = [*(each.size for each in self.statements[1:]), None]
        self._reigns = [_Reign(each.new, each.size if each.old else -1, end) for each, end in zip(self.statements, ends, strict=False)]
        if not self.statements:
            self._reigns = [_Reign(key, -1, None) for key in trusted]
        known = {reign.key for reign in self._reigns}
        if trusted and not known & set(trusted):
            self.problems.append(
                f"the log's keys are {_names(known) or 'none'}; none of them is a key that you trust ({_names(trusted)}): "
                "this is another log, or it was signed anew by somebody else"
            )
            self._reigns = []

    def _add(self, number: int, note: str) -> None:
        try:
            parsed = Note.parse(note)
            statement = KeyStatement.parse(parsed.text)
        except BadNote as error:
            self.problems.append(f"statement {number} of the log's keys cannot be read: {error}")
            return
        before = self.statements[-1] if self.statements else None
        wanted = None if before is None else before.new
        if statement.old != wanted:
            self.problems.append(f"statement {number} of the log's keys does not follow the one before it")
        if before is not None and (statement.origin != before.origin or statement.size < before.size):
            self.problems.append(f"statement {number} of the log's keys is of another log, or goes back in it")
        for key in filter(None, (statement.old, statement.new)):
            if not parsed.signed_by(key):
                self.problems.append(f"statement {number} of the log's keys is not signed by {key.name}+{key.key_id}")
        self.statements.append(statement)

    @property
    def current(self) -> VerifierKey | None:
        """The key that signs now."""
        return self._reigns[-1].key if self._reigns else None

    def fault(self, head: Head, note: Note) -> str:
        """Why the head is not good, "" when it is: signed by the key that signed at its size, and of this log."""
        if self.statements and head.origin != self.statements[0].origin:
            return f"it is of another log, {head.origin!r} and not {self.statements[0].origin!r}"
        signers = [reign for reign in self._reigns if note.signed_by(reign.key)]
        if not signers:
            return f"it is not signed by a key of the log ({_names(reign.key for reign in self._reigns) or 'none is good'})"
        for reign in signers:
            if reign.above < head.size and (reign.up_to is None or head.size <= reign.up_to):
                return ""
        reign = signers[-1]
        return f"key {reign.key.key_id} signed it, which signs heads of more than {reign.above} and at most {reign.up_to} leaves"


def _names(keys: Iterable[VerifierKey]) -> str:
    return ", ".join(sorted(f"{key.name}+{key.key_id}" for key in keys))
