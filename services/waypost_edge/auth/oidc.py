"""JWTs of OIDC issuers: their keys, and what must hold of a token. PyJWT does the cryptography (ADR 0310).

A token is good when its issuer is one of ours, its signature is by a key of that issuer under an algorithm that is allowed and fits
the key, its audience is ours, and it holds now, give or take the issuer's leeway. Keys are read when they are first needed, after
`keys_seconds`, and when a token names one that is not known (but not oftener than `AGAIN_SECONDS`, whatever is sent). While an issuer does
not answer, the keys that are known stay good for `STALE_SECONDS`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jwt
import msgspec
import structlog

from waypost_edge.auth.issuers import Issuer, is_safe
from waypost_io.webhooks import request
from waypost_proto.errors import NotAuthenticated, Unreachable
from waypost_proto.signing import Behalf

MAX_TOKEN_CHARS = 8_192
MAX_KEYS = 100
AGAIN_SECONDS = 10.0
STALE_SECONDS = 86_400.0
_FAMILIES = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("EdDSA",)}
_log = structlog.get_logger(__name__)

Fetch = Callable[[str], bytes]
"""Reads an address. Blocks; raises `OSError`."""


class _Metadata(msgspec.Struct, frozen=True):
    """Of `/.well-known/openid-configuration`, what is needed (OpenID Connect Discovery 1.0)."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key, of which kind, and for which algorithm alone ("": any that fits its kind)."""

    key: jwt.PyJWK
    kind: str
    algorithm: str

    def fits(self, algorithm: str) -> bool:
        """Whether it may verify `algorithm`: an RSA key is no secret for HMAC, and one for RS256 is not one for PS256."""
        return self.algorithm in ("", algorithm) and algorithm.startswith(_FAMILIES.get(self.kind, ("-",)))


class Keys:
    """The keys of one issuer, by their ids. Safe to use from many tasks: at most one of them reads."""

    def __init__(self, issuer: Issuer, fetch: Fetch, monotonic: Callable[[], float]) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._monotonic = monotonic
        self._keys: dict[str, Key] = {}
        self._read_at = -float("inf")
        self._tried_at = -float("inf")
        self._reading = asyncio.Lock()
        self._metadata: _Metadata | None = None

    async def find(self, key_id: str | None) -> Key:
        """Without an id the only key. Raises `NotAuthenticated` for one that the issuer does not have, `Unreachable` without any keys."""
        now = self._monotonic()
        key = self._named(key_id)
        if key is None or now - self._read_at > self._issuer.keys_seconds:
            await self._again(key_id)
            key = self._named(key_id)
        if self._monotonic() - self._read_at > STALE_SECONDS:
            raise Unreachable(f"the keys of {self._issuer.issuer} are not to be had: nobody of that issuer can be let in")
        if key is None:
            raise NotAuthenticated(f"the token was signed with a key that {self._issuer.issuer} does not have")
        return key

    async def metadata(self) -> _Metadata:
        """What the issuer says of itself, read once. Raises `Unreachable`."""
        if self._metadata is None:
            try:
                self._metadata = await self._discover()
            except (OSError, msgspec.MsgspecError, ValueError) as error:
                raise Unreachable(f"{self._issuer.issuer} does not say where its endpoints are: {error}") from error
        return self._metadata

    def _named(self, key_id: str | None) -> Key | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    async def _again(self, key_id: str | None) -> None:
        async with self._reading:
            now = self._monotonic()
            fresh = now - self._read_at <= self._issuer.keys_seconds
            if now - self._tried_at < AGAIN_SECONDS or (fresh and self._named(key_id) is not None):
                return  # somebody else has just read them
            self._tried_at = now
            try:
                url = self._issuer.jwks_url or (await self._discover()).jwks_uri
                self._keys = _keys_of(await asyncio.to_thread(self._fetch, url))
                self._read_at = now
            except (OSError, msgspec.MsgspecError, ValueError, jwt.PyJWTError) as error:
                _log.warning("keys_of_issuer_not_read", issuer=self._issuer.issuer, error=str(error), kept=len(self._keys))

    async def _discover(self) -> _Metadata:
        url = self._issuer.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = msgspec.json.decode(await asyncio.to_thread(self._fetch, url), type=_Metadata)
        if found.issuer != self._issuer.issuer:
            raise ValueError(f"{url} is about {found.issuer!r}")
        if not all(is_safe(url) for url in (found.jwks_uri, found.authorization_endpoint, found.token_endpoint) if url):
            raise ValueError(f"{url} names an address without https")
        return found


class Issuers:
    """Verifies tokens of several issuers. `clock` is Unix seconds."""

    def __init__(
        self,
        issuers: list[Issuer],
        clock: Callable[[], float],
        *,
        fetch: Fetch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self.known = {issuer.issuer: issuer for issuer in issuers}
        self.keys = {issuer.issuer: Keys(issuer, fetch or read, monotonic) for issuer in issuers}

    async def verify(self, token: str) -> tuple[Behalf, float]:
        """See `authenticating.Verifier`."""
        issuer, claims = await self.claims(token)
        return issuer.behalf(claims), float(claims["exp"])

    async def claims(self, token: str) -> tuple[Issuer, dict[str, Any]]:
        """Whose token it is, and what it says. Raises `NotAuthenticated`, `Unreachable`."""
        if len(token) > MAX_TOKEN_CHARS:
            raise NotAuthenticated(f"the token has {len(token)} characters, the limit is {MAX_TOKEN_CHARS}")
        try:
            header = jwt.get_unverified_header(token)
            named = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            raise NotAuthenticated("that is neither an API token nor a JWT") from error
        issuer = self.known.get(named) if isinstance(named, str) else None
        if issuer is None:
            raise NotAuthenticated("the token is of an issuer whose word is not taken here")
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in issuer.algorithms:
            raise NotAuthenticated(
                f"the token is signed by {str(algorithm)[:20]!r}: {', '.join(issuer.algorithms)} are allowed for its issuer"
            )
        key = await self.keys[issuer.issuer].find(key_id if isinstance(key_id, str) else None)
        return issuer, self._checked(token, key, issuer, algorithm)

    def _checked(self, token: str, key: Key, issuer: Issuer, algorithm: str) -> dict[str, Any]:
        if not key.fits(algorithm):
            raise NotAuthenticated(f"the token is signed by {algorithm}, and its key is not for that")
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key.key,
                algorithms=[algorithm],
                audience=issuer.audiences,
                issuer=issuer.issuer,
                options={"require": ["exp", "iat", "iss", "aud"], "verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise NotAuthenticated(f"the token is not good: {error}") from error
        self._check_times(claims, issuer.leeway_seconds)
        return claims

    def _check_times(self, claims: dict[str, Any], leeway: float) -> None:
        """By the edge's own clock, which tests turn; PyJWT has none to give."""
        now = self._clock()
        expires, issued, begins = (_number(claims, name) for name in ("exp", "iat", "nbf"))
        if expires is None or issued is None:
            raise NotAuthenticated("the token does not say when it was made and when it ends")
        if expires + leeway <= now:
            raise NotAuthenticated("the token has expired: sign in again")
        if issued - leeway > now or (begins is not None and begins - leeway > now):
            raise NotAuthenticated("the token is from the future: check the clocks")


def read(url: str) -> bytes:
    """What is at an address of an issuer. Blocks; raises `OSError`. Follows no redirect."""
    status, body = request("GET", url, None, {"Accept": "application/json", "User-Agent": "waypost"})
    if status != 200:
        raise OSError(f"{url} answered {status}")
    return body


def _keys_of(body: bytes) -> dict[str, Key]:
    """Keys for signatures by id. Others, and what cannot be read, are left out: an issuer may publish more than we know."""
    found: dict[str, Key] = {}
    listed = msgspec.json.decode(body, type=dict[str, Any]).get("keys")
    if not isinstance(listed, list):
        raise ValueError("a key set without keys")  # noqa: TRY004  # not a mistake of ours
    for number, entry in enumerate(listed[:MAX_KEYS]):
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") == "oct":
            continue
        try:
            key_id = str(entry.get("kid", f"#{number}"))
            found[key_id] = Key(jwt.PyJWK(entry), str(entry.get("kty")), str(entry.get("alg", "")))
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            _log.info("key_of_issuer_left_out", key_id=str(entry.get("kid"))[:80], error=str(error))
    return found


def _number(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value)
