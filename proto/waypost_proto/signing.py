"""Signed requests: which headers they carry and what exactly is signed. The signing itself is `waypost_io.identity`'s.

A person or service has an Ed25519 key of its own (an nkey); the secret half never travels. A signature covers the subject, the time and
the body, so that it is good for this very request: not for another endpoint, another body, or later than `SIGNATURE_SECONDS`.

A service that has authenticated somebody itself (the edge, by OIDC) signs with its own key and says on whose behalf, in a `Behalf` that the
signature covers too. Only an identity with the role `delegate` may.
"""

from __future__ import annotations

import base64
import binascii
import hashlib

import msgspec

from waypost_proto.errors import BadInput
from waypost_proto.values import Value

KEY_HEADER = "Waypost-Key"
"""The public key, as an nkey (`U…`)."""
AT_HEADER = "Waypost-At"
"""When it was signed, RFC 3339."""
SIGNATURE_HEADER = "Waypost-Signature"
"""base64url, without padding."""
BEHALF_HEADER = "Waypost-Behalf"
"""On whose behalf: a `Behalf` as JSON in base64url, without padding. It is signed as it stands here."""
SIGNATURE_SECONDS = 300.0
"""How far the clock of the signer may be from the coordinator's. Within it a repeat of a request is the same request."""
MAX_BEHALF_CHARS = 8_192


class Behalf(Value, frozen=True, kw_only=True):
    """Somebody whom the signer has authenticated: who it is, and what that person may do. `issuer` says by whose word."""

    subject: str
    tenant: str = "default"
    roles: list[str] = []
    issuer: str = ""


def signed_bytes(subject: str, at: str, body: bytes, behalf: str = "") -> bytes:
    """What is signed: version, subject, time and the SHA-256 of the body, a line each; with `behalf` that too, as its header has it."""
    version, more = ("waypost-2", f"\n{behalf}") if behalf else ("waypost-1", "")
    return f"{version}\n{subject}\n{at}\n{hashlib.sha256(body).hexdigest()}{more}".encode()


def pack_behalf(behalf: Behalf) -> str:
    """The value of `Waypost-Behalf`."""
    return base64.urlsafe_b64encode(msgspec.json.encode(behalf)).rstrip(b"=").decode()


def unpack_behalf(text: str) -> Behalf:
    """Raises `BadInput` for what is no `Behalf`."""
    try:
        if len(text) > MAX_BEHALF_CHARS:
            raise BadInput(f"{BEHALF_HEADER} has {len(text)} characters, the limit is {MAX_BEHALF_CHARS}")
        behalf = msgspec.json.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True), type=Behalf)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise BadInput(f"{BEHALF_HEADER} is not a JSON object with subject, tenant and roles in base64url: {error}") from error
    if not behalf.subject.strip() or not behalf.tenant.strip():
        raise BadInput(f"{BEHALF_HEADER} names no subject, or no tenant")
    return behalf
