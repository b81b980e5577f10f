"""Proofs as documents: JSON that says all that is needed to check it but the key that one trusts. Hashes are base64."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Literal

import msgspec

from waypost_core.audit.heads import Head, parse_head
from waypost_core.audit.keyring import Keyring
from waypost_core.audit.leaves import event_leaf
from waypost_core.audit.merkle import HASH_BYTES, is_consistent, root_from_inclusion
from waypost_core.audit.notes import BadNote, VerifierKey


class InclusionProof(msgspec.Struct, frozen=True, kw_only=True, tag="inclusion", tag_field="proof"):
    """Event `seq` of run `run_id`, with exactly these bytes, is leaf `index` under `head`.

    `body` is the event as text, `body_base64` instead when it is none. `path` goes from the leaf up. `keys`: the log's statements of keys.
    """

    format: Literal["waypost-audit-proof/1"] = "waypost-audit-proof/1"
    run_id: str
    seq: int
    index: int
    body: str | None = None
    body_base64: str | None = None
    path: list[str]
    head: str
    keys: list[str] = []

    @classmethod
    def of(cls, *, run_id: str, seq: int, index: int, body: bytes, path: Sequence[bytes], head: str, keys: Sequence[str]) -> InclusionProof:
        """From bytes."""
        text, base64_text = body_fields(body)
        return cls(run_id=run_id, seq=seq, index=index, body=text, body_base64=base64_text, path=_texts(path), head=head, keys=list(keys))

    def problems(self, trusted: Sequence[VerifierKey] = ()) -> list[str]:
        """What is wrong with it; nothing when the event is proved."""
        try:
            head, found = _head(self.head, self.keys, trusted, "the head")
            body = body_bytes(self.body, self.body_base64)
            root = root_from_inclusion(self.index, head.size, event_leaf(self.run_id, self.seq, body), _hashes(self.path))
        except (BadNote, ValueError, OverflowError) as error:
            return [str(error)]
        if root != head.root:
            found.append(
                f"event {self.seq} of run {self.run_id} is not leaf {self.index} of the log of {head.size} leaves: "
                "its bytes, its place or the path were changed"
            )
        return found


class ConsistencyProof(msgspec.Struct, frozen=True, kw_only=True, tag="consistency", tag_field="proof"):
    """The log of `old_head` is the beginning of that of `new_head`: nothing was changed or removed in between."""

    format: Literal["waypost-audit-proof/1"] = "waypost-audit-proof/1"
    path: list[str]
    old_head: str
    new_head: str
    keys: list[str] = []

    @classmethod
    def of(cls, *, path: Sequence[bytes], old_head: str, new_head: str, keys: Sequence[str]) -> ConsistencyProof:
        """From bytes."""
        return cls(path=_texts(path), old_head=old_head, new_head=new_head, keys=list(keys))

    def problems(self, trusted: Sequence[VerifierKey] = ()) -> list[str]:
        """What is wrong with it; nothing when the growth is proved."""
        try:
            old, found = _head(self.old_head, self.keys, trusted, "the old head")
            new, more = _head(self.new_head, self.keys, trusted, "the new head")
            path = _hashes(self.path)
        except BadNote as error:
            return [str(error)]
        found += [problem for problem in more if problem not in found]
        if not is_consistent(old.size, new.size, old.root, new.root, path):
            found.append(
                f"the log of {old.size} leaves is not the beginning of that of {new.size}: it was forked, or the proof was changed"
            )
        return found


Proof = InclusionProof | ConsistencyProof


def body_fields(body: bytes) -> tuple[str | None, str | None]:
    """The bytes of an event as (text, None), or as (None, base64) when they are no text."""
    try:
        return body.decode("utf-8"), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode()


def body_bytes(text: str | None, base64_text: str | None) -> bytes:
    """The inverse of `body_fields`. Raises `BadNote`."""
    if (text is None) == (base64_text is None):
        raise BadNote("an event has either a body or a body_base64")
    try:
        found = text.encode("utf-8") if text is not None else base64.b64decode(base64_text or "", validate=True)
    except (ValueError, binascii.Error) as error:
        raise BadNote(f"the body of an event cannot be read: {error}") from error
    if body_fields(found) != (text, base64_text):
        raise BadNote("the body of an event is written in another way than it should be")
    return found


def hash_bytes(text: str) -> bytes:
    """A hash from its base64. Raises `BadNote`."""
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != HASH_BYTES or hash_text(found) != text:  # the last character has two bits that decoding ignores
        raise BadNote(f"{text[:60]!r} is no hash: base64 of {HASH_BYTES} bytes")
    return found


def hash_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _texts(hashes: Sequence[bytes]) -> list[str]:
    return [hash_text(each) for each in hashes]


def _hashes(texts: Sequence[str]) -> list[bytes]:
    return [hash_bytes(each) for each in texts]


def _head(note: str, keys: Sequence[str], trusted: Sequence[VerifierKey], what: str) -> tuple[Head, list[str]]:
    """The head, and what is wrong with it and its keys. Raises `BadNote`."""
    ring = Keyring(keys, trusted)
    head, parsed = parse_head(note)
    fault = ring.fault(head, parsed)
    return head, [*ring.problems, *([f"{what} of {head.size} leaves is not good: {fault}"] if fault else [])]
