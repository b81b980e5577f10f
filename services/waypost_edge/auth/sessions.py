"""What a browser's cookie holds: who signed in, encrypted (XSalsa20-Poly1305), so that any edge with the same key can read it.

Nothing is kept here but the ids of sessions that were ended before their time. A session of a token holds the token: it is looked up with
every request, so that a token that was revoked or has expired ends its sessions too. A session of an issuer's holds what the issuer said.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from waypost_proto.errors import Misconfigured, NotAuthenticated
from waypost_proto.signing import Behalf

COOKIE = "waypost_session"
MAX_COOKIE_CHARS = 3_800
"""Browsers keep 4,096 characters of a cookie, with its name and attributes."""
MAX_ENDED = 10_000
_KEY_BYTES = 32
_SESSION = b"session"


class Session(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who signed in, until when (Unix seconds). Either `token` or `behalf` is there."""

    session_id: str
    expires_at: float
    token: str = ""
    behalf: Behalf | None = None


class Sessions:
    """Makes and reads cookies. `secret` "" is a key of this process's own: sessions end when it stops."""

    def __init__(self, secret: str, *, seconds: float, secure: bool, clock: Callable[[], float]) -> None:
        """`secure`: the browser reaches us by https alone."""
        from nacl.secret import SecretBox

        key = (
            hashlib.blake2b(secret.encode(), digest_size=_KEY_BYTES, person=b"waypost-session").digest()
            if secret
            else os.urandom(_KEY_BYTES)
        )
        self._box = SecretBox(key)
        self._seconds = seconds
        self._secure = secure
        self._clock = clock
        self._ended: OrderedDict[str, float] = OrderedDict()
        self.cookie = f"__Host-{COOKIE}" if secure else COOKIE

    def begin(self, response: Response, *, token: str = "", behalf: Behalf | None = None, until: float | None = None) -> None:
        """Put a new session into the answer, at most until `until`. Raises `NotAuthenticated` for one that no cookie can hold."""
        now = self._clock()
        expires = min(now + self._seconds, until if until is not None else now + self._seconds)
        session = Session(session_id=os.urandom(12).hex(), expires_at=expires, token=token, behalf=behalf)
        text = self.seal(_SESSION, msgspec.json.encode(session))
        if len(text) > MAX_COOKIE_CHARS:
            raise NotAuthenticated("a cookie cannot hold what the issuer says of you: have fewer roles mapped")
        response.set_cookie(
            self.cookie, text, max_age=max(0, int(expires - now)), path="/", secure=self._secure, httponly=True, samesite="strict"
        )

    def read(self, request: Request) -> Session | None:
        """The session of the request; None without a cookie. Raises `NotAuthenticated` for one that is over, ended or not ours."""
        text = request.cookies.get(self.cookie)
        if not text:
            return None
        data = self.open(_SESSION, text)
        try:
            session = None if data is None else msgspec.json.decode(data, type=Session)
        except msgspec.MsgspecError:
            session = None
        if session is None or session.expires_at <= self._clock() or session.session_id in self._ended:
            raise NotAuthenticated("your session is over: sign in again")
        return session

    def end(self, request: Request, response: Response) -> None:
        """Take the cookie away, and refuse copies of it here. Without a session nothing happens."""
        try:
            session = self.read(request)
        except NotAuthenticated:
            session = None
        if session is not None:
            self._ended[session.session_id] = session.expires_at
            while len(self._ended) > MAX_ENDED:
                self._ended.popitem(last=False)
        response.delete_cookie(self.cookie, path="/", secure=self._secure, httponly=True, samesite="strict")

    def seal(self, purpose: bytes, data: bytes) -> str:
        """Encrypted and authenticated, as text for a cookie. What is sealed for one purpose opens for no other."""
        return base64.urlsafe_b64encode(bytes(self._box.encrypt(purpose + b"\0" + data))).rstrip(b"=").decode()

    def open(self, purpose: bytes, text: str) -> bytes | None:
        """What `seal` made into text for `purpose`; None for anything else."""
        from nacl.exceptions import CryptoError

        if len(text) > MAX_COOKIE_CHARS:
            return None
        try:
            found = bytes(self._box.decrypt(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)))
        except (CryptoError, binascii.Error, ValueError, TypeError):
            return None
        kind, _, data = found.partition(b"\0")
        return data if kind == purpose else None


def session_secret(path: Path | None) -> str:
    """The secret in a file; "" without one. Raises `Misconfigured`."""
    if path is None:
        return ""
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"WAYPOST_EDGE_SESSION_KEY_FILE={str(path)!r} cannot be read: {error}") from error
    if len(secret) < _KEY_BYTES:
        raise Misconfigured(f"WAYPOST_EDGE_SESSION_KEY_FILE={str(path)!r}: write at least {_KEY_BYTES} random characters into it")
    return secret
