"""Keys of people and services: make one, sign a request with it, verify what somebody signed. Owns no list of who is who.

The token that a person keeps is the seed of an Ed25519 nkey (`SU…`); everybody else knows its public half (`U…`). The same kind of key
connects to NATS. The cryptography is libsodium's, by way of PyNaCl.
"""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.ids import digest_of
from waypost_proto.signing import AT_HEADER, BEHALF_HEADER, KEY_HEADER, SIGNATURE_HEADER, Behalf, pack_behalf, signed_bytes
from waypost_proto.task import format_time

_RAW_KEY_BYTES: Final = 32
_NKEY_BYTES: Final = 35
"""One byte that says what the key is for, 32 of key, two of checksum."""
_USER: Final = 20 << 3
"""Prefix byte of a user's public key; it makes the text begin with `U`."""


class Signs(Protocol):
    """Makes requests somebody's."""

    def headers(self, subject: str, body: bytes) -> dict[str, str]:
        """The headers that make a request to `subject` with `body` theirs."""
        ...


class Signer:
    """Signs requests with one key. `key` is its public half."""

    def __init__(self, token: str) -> None:
        """Raises `Misconfigured` for what is not a token; never shows it."""
        import nkeys  # type: ignore[import-untyped]  # late: only who signs needs libsodium

        try:
            self._pair = nkeys.from_seed(bytearray(token.strip().encode()))
            self.key: str = self._pair.public_key.decode()
        except (nkeys.NkeysError, ValueError, binascii.Error, TypeError) as error:
            raise Misconfigured(
                "WAYPOST_API_TOKEN is not a token: it begins with SU and has 58 characters; make one with `waypost tokens create`"
            ) from error

    def headers(self, subject: str, body: bytes) -> dict[str, str]:
        """The headers that make a request to `subject` one of ours."""
        return self._signed(subject, body, "")

    def _signed(self, subject: str, body: bytes, behalf: str) -> dict[str, str]:
        at = format_time(time.time())
        signature = base64.urlsafe_b64encode(self._pair.sign(signed_bytes(subject, at, body, behalf))).rstrip(b"=")
        return {KEY_HEADER: self.key, AT_HEADER: at, SIGNATURE_HEADER: signature.decode()}

    def on_behalf(self, behalf: Behalf) -> Signs:
        """Signs with this key for somebody else; the coordinator takes it from an identity with the role `delegate`."""
        return _Delegated(self._signed, pack_behalf(behalf))


@dataclass(frozen=True, slots=True)
class _Delegated:
    sign: Callable[[str, bytes, str], dict[str, str]]
    behalf: str

    def headers(self, subject: str, body: bytes) -> dict[str, str]:
        return {**self.sign(subject, body, self.behalf), BEHALF_HEADER: self.behalf}


def new_token() -> tuple[str, str]:
    """A new key: (the token to keep, the public key to give away)."""
    import nkeys

    token: str = nkeys.encode_seed(os.urandom(_RAW_KEY_BYTES), nkeys.PREFIX_BYTE_USER).decode()
    return token, Signer(token).key


def verifies(key: str, signature: str, data: bytes) -> bool:
    """Whether `signature` over `data` was made with the secret half of `key`. False for what is no signature; `key` must be one."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    try:
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        VerifyKey(raw_key(key)).verify(data, raw)
    except (BadSignatureError, ValueError, TypeError, binascii.Error):
        return False
    return True


def raw_key(key: str) -> bytes:
    """The 32 bytes of a public user key. Raises `BadInput` for anything else, a mistyped one included."""
    try:
        whole = base64.b32decode(key + "=" * (-len(key) % 8))
    except (binascii.Error, ValueError) as error:
        raise BadInput(f"{key[:8]!r}… is no public key: it begins with U and has 56 characters") from error
    if len(whole) != _NKEY_BYTES or whole[0] != _USER or _crc16(whole[:-2]) != int.from_bytes(whole[-2:], "little"):
        raise BadInput(f"{key[:8]!r}… is no public key of a user: it begins with U and has 56 characters")
    return whole[1:-2]


def _crc16(data: bytes) -> int:
    """CRC-16/XMODEM, as nkeys use it (github.com/nats-io/nkeys, crc16.go)."""
    return binascii.crc_hqx(data, 0)


def token_from(text: str, path: Path | None) -> str | None:
    """The token of this process: given itself, or in a file. Raises `Misconfigured` for a file that cannot be read."""
    if text:
        return text
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Misconfigured(f"WAYPOST_API_TOKEN_FILE={str(path)!r} cannot be read: {error.strerror or error}") from error


def fingerprint(signature: str) -> str:
    """32 hex digits that stand for a signed request: the request id of one that names none."""
    return digest_of(signature.encode())[:32]
