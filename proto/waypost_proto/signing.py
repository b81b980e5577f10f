"""Signed requests: which headers they carry and what exactly is signed. The signing itself is `waypost_io.identity`'s.

A person or service has an Ed25519 key of its own (an nkey); the secret half never travels. A signature covers the subject, the time and
the body, so that it is good for this very request: not for another endpoint, another body, or later than `SIGNATURE_SECONDS`.
"""

from __future__ import annotations

import hashlib

KEY_HEADER = "Waypost-Key"
"""The public key, as an nkey (`U…`)."""
AT_HEADER = "Waypost-At"
"""When it was signed, RFC 3339."""
SIGNATURE_HEADER = "Waypost-Signature"
"""base64url, without padding."""
SIGNATURE_SECONDS = 300.0
"""How far the clock of the signer may be from the coordinator's. Within it a repeat of a request is the same request."""


def signed_bytes(subject: str, at: str, body: bytes) -> bytes:
    """What is signed: version, subject, time and the SHA-256 of the body, a line each."""
    return f"waypost-1\n{subject}\n{at}\n{hashlib.sha256(body).hexdigest()}".encode()
