"""Signed notes, and the keys that sign them: the format of Go's checksum database and of the transparency logs around C2SP
(c2sp.org/signed-note). What is signed is the text, up to and with its last newline:

    text
                                  an empty line
    — name base64(key id ‖ signature)

    verifier key   name+keyid+base64(0x01 ‖ public key)          given away
    signing key    PRIVATE+KEY+name+keyid+base64(0x01 ‖ seed)    kept secret

A key id is the first four bytes of SHA-256(name ‖ "\\n" ‖ 0x01 ‖ public key), in hex where it is text. 0x01 stands for Ed25519. The
cryptography is libsodium's, by way of PyNaCl, imported when it is needed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_ED25519: Final = b"\x01"
_KEY_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_PREFIX: Final = "PRIVATE+KEY+"
DEFAULT_NAME: Final = "waypost-audit"


class BadNote(ValueError):
    """A text that is no signed note, key or head of ours; the message says why."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key. `str` gives the text to hand out."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """From its text. Raises `BadNote`, for a mistyped one too: the key id is a checksum."""
        parts = text.strip().split("+", 2)
        if text.startswith(_PREFIX):
            raise BadNote("this is a signing key, which is secret; the verifier key is what `waypost audit keys` shows")
        if len(parts) != 3:
            raise BadNote(f"{text.strip()[:40]!r} is no verifier key: it looks like {DEFAULT_NAME}+1a2b3c4d+Af…")
        key = cls(_name(parts[0]), _key_bytes(parts[2]))
        if key.key_id != parts[1]:
            raise BadNote(f"the verifier key {text.strip()[:40]!r}… has key id {key.key_id}, not {parts[1]}: it is mistyped or was changed")
        return key

    @property
    def key_id(self) -> str:
        """8 hex digits."""
        return hashlib.sha256(f"{self.name}\n".encode() + _ED25519 + self.public).hexdigest()[:8]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def verifies(self, text: str, signature: bytes) -> bool:
        """Whether the signature over the text was made with the secret half."""
        from nacl.exceptions import CryptoError
        from nacl.signing import VerifyKey

        try:
            VerifyKey(self.public).verify(text.encode(), signature)
        except (CryptoError, ValueError, TypeError):
            return False
        return True


class SigningKey:
    """The secret half. Never printed: `repr` shows the key id."""

    def __init__(self, name: str, seed: bytes) -> None:
        """Raises `BadNote` for a name or seed that cannot be."""
        from nacl.signing import SigningKey as NaclKey

        if len(seed) != _KEY_BYTES:
            raise BadNote(f"an Ed25519 seed has {_KEY_BYTES} bytes, not {len(seed)}")
        self._key = NaclKey(seed)
        self.verifier = VerifierKey(_name(name), bytes(self._key.verify_key))

    @classmethod
    def parse(cls, text: str) -> SigningKey:
        """From its text. Raises `BadNote`, which never shows it."""
        parts = text.strip().removeprefix(_PREFIX).split("+", 2)
        if not text.strip().startswith(_PREFIX) or len(parts) != 3:
            raise BadNote(f"this is no signing key: it begins with {_PREFIX}; make one with `waypost audit new-key FILE`")
        try:
            key = cls(parts[0], _key_bytes(parts[2]))
        except BadNote as error:
            raise BadNote("a signing key is damaged: its last part is base64 of 33 bytes, the first of them 1") from error
        if key.verifier.key_id != parts[1]:
            raise BadNote(f"the signing key {parts[1]} is mistyped or was changed: its key id should be {key.verifier.key_id}")
        return key

    def text(self) -> str:
        """The secret text to keep."""
        return f"{_PREFIX}{self.verifier.name}+{self.verifier.key_id}+{base64.b64encode(_ED25519 + bytes(self._key)).decode()}"

    def sign(self, text: str) -> str:
        """The line that signs a note's text."""
        signature = self._key.sign(text.encode()).signature
        blob = base64.b64encode(bytes.fromhex(self.verifier.key_id) + signature).decode()
        return f"\u2014 {self.verifier.name} {blob}\n"

    def __repr__(self) -> str:
        return f"SigningKey({self.verifier.name}+{self.verifier.key_id})"


@dataclass(frozen=True, slots=True)
class Signature:
    """One line under a note."""

    name: str
    key_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A signed text. Nothing is verified by parsing it."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, whole: str) -> Note:
        """Raises `BadNote`."""
        text, separator, below = whole.rpartition("\n\n")
        if not separator or not below.endswith("\n"):
            raise BadNote("this is no signed note: it is a text, an empty line, and a line for each signature")
        return cls(text + "\n", tuple(_signature(line) for line in below.splitlines()))

    def signed_by(self, key: VerifierKey) -> bool:
        """Whether this key has signed it."""
        mine = (each for each in self.signatures if (each.name, each.key_id) == (key.name, key.key_id))
        return any(key.verifies(self.text, each.signature) for each in mine)


def signed(text: str, keys: Iterable[SigningKey]) -> str:
    """The whole signed note. The text ends with a newline."""
    assert text.endswith("\n")
    return f"{text}\n{''.join(key.sign(text) for key in keys)}"


def _signature(line: str) -> Signature:
    dash, name, text = parts if len(parts := line.split(" ")) == 3 else ("", "", "")
    try:
        blob = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        blob = b""
    if dash != "\u2014" or not blob or base64.b64encode(blob).decode() != text:
        raise BadNote(f"{line[:40]!r} is no signature of a note: it is a dash, a name, and base64")
    if len(blob) != 4 + _SIGNATURE_BYTES:
        raise BadNote(f"the signature of {name!r} has {len(blob) - 4} bytes, not {_SIGNATURE_BYTES}")
    return Signature(name, blob[:4].hex(), blob[4:])


def _name(text: str) -> str:
    if not text or "+" in text or any(each.isspace() for each in text):
        raise BadNote(f"{text!r} is no name of a key: it has neither spaces nor +")
    return text


def _key_bytes(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise BadNote(f"{text[:12]!r}… is not base64") from None
    if len(found) != 1 + _KEY_BYTES or found[:1] != _ED25519:
        raise BadNote(f"a key is base64 of {1 + _KEY_BYTES} bytes, the first of them 1 for Ed25519")
    return found[1:]
