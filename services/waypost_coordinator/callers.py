"""Who calls: a signed request's identity, or the caller's word where that is taken. What each role may do is `waypost_io.permissions`'.

Three ways to run, see ADR 0245: `required` (identities are configured: every request is signed), `word` (nobody is authenticated,
and who somebody is and which roles they have is what they say), `closed` (no identities, and not on this machine alone: nobody can
decide an approval).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

import msgspec
import structlog

from waypost_io.bus.ports import Headers
from waypost_io.identities import Identities, Identity
from waypost_io.identity import verifies
from waypost_io.permissions import DEFAULT_TENANT, EVERY_TENANT, check, tenant_of_new_runs
from waypost_io.settings import CoordinatorSettings
from waypost_proto.api import ApprovalsDecide
from waypost_proto.codec import decode
from waypost_proto.errors import BadInput, Denied, Misconfigured, NotAuthenticated
from waypost_proto.mailbox import DecideApproval
from waypost_proto.signing import (
    AT_HEADER,
    BEHALF_HEADER,
    KEY_HEADER,
    SIGNATURE_HEADER,
    SIGNATURE_SECONDS,
    signed_bytes,
    unpack_behalf,
)
from waypost_proto.subjects import Subjects
from waypost_proto.task import format_time, parse_time
from waypost_proto.values import Proof

Mode = Literal["required", "word", "closed"]
log = structlog.get_logger(__name__)

FOR_SERVICES = frozenset({"runs.journal", "payloads.get", "payloads.put"})
"""What workers and gateways ask. NATS permissions keep others from it; with `WAYPOST_AUTH_SERVICES=signed` these are signed too."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `identity` is None for somebody that nobody has authenticated."""

    identity: Identity | None = None
    proof: Proof | None = None
    strict: bool = False
    """Callers are authenticated here, so that what cannot be shown of them is refused."""
    via: str = ""
    """Who authenticated them, a delegate's subject; "" for who signed by themselves."""

    @property
    def subject(self) -> str:
        """As authenticated; "" for nobody."""
        return "" if self.identity is None else self.identity.subject

    @property
    def tenant(self) -> str:
        """Of the runs that they start."""
        return DEFAULT_TENANT if self.identity is None else tenant_of_new_runs(self.identity.tenant)

    @property
    def bound_to(self) -> str | None:
        """The only tenant that exists for them; None: all do, as for everybody where nobody is authenticated."""
        if self.identity is None or not self.strict or self.identity.tenant == EVERY_TENANT:
            return None
        return self.identity.tenant

    @property
    def agents(self) -> list[str]:
        """The only agents whose runs exist for them; empty: all."""
        return self.identity.agents if self.identity is not None and self.strict else []

    def sees(self, tenant: str, agent: str) -> bool:
        """Whether what belongs to that tenant and agent exists for them."""
        return self.bound_to in (None, tenant) and (not self.agents or agent in self.agents)

    @property
    def of_the_house(self) -> bool:
        """Whether what belongs to no run is theirs."""
        return self.bound_to in (None, DEFAULT_TENANT) and not self.agents

    def named(self, by: str) -> str:
        """Who is recorded. Raises `Denied` when the body names somebody else than the signature."""
        if self.identity is None:
            return by
        if by not in ("", self.subject):
            raise Denied(f"the request was signed by {self.subject!r} and says by {by!r}: leave `by` out")
        return self.subject

    def roles(self, asked: list[str]) -> list[str]:
        """The roles that count: those of the identity, or of these the ones asked for. Raises `Denied` for one it does not have."""
        if self.identity is None:
            return asked
        more = sorted(set(asked) - set(self.identity.roles))
        if more:
            has = ", ".join(self.identity.roles) or "none"
            raise Denied(f"{self.subject} does not have the role {more[0]!r}: {has}")
        return asked or self.identity.roles


NOBODY = Caller()


class Gatekeeper:
    """Tells callers apart for one coordinator. `clock` is Unix seconds by the database."""

    def __init__(
        self, identities: Identities, mode: Mode, subjects: Subjects, clock: Callable[[], float], *, services_sign: bool = False
    ) -> None:
        """`services_sign`: what workers and gateways ask must be signed too."""
        self._identities = identities
        self._services_sign = services_sign
        self._deciding = subjects.api("approvals", "decide")
        self._clock = clock
        self.mode = mode

    def admit(self, operation: str, subject: str, headers: Headers, body: bytes) -> Caller:
        """Who asks for `operation` (`runs.start`). A signature that is there must be good, whatever the mode.

        Raises `NotAuthenticated`, `Denied` (none of the roles that the operation needs, or approvals that nobody can decide).
        """
        caller = self.identify(subject, headers, body)
        if caller.identity is None:
            if self.mode == "required" and (self._services_sign or operation not in FOR_SERVICES):
                raise NotAuthenticated(f"{operation} needs a signed request: set WAYPOST_API_TOKEN, see docs/authentication.md")
            if self.mode == "closed" and operation == "approvals.decide":
                raise Denied(
                    "nobody can decide approvals: no identities are configured (WAYPOST_API_TOKENS_FILE), and NATS is not on this machine "
                    "alone; `waypost tokens create` makes them, WAYPOST_AUTH=off takes every caller's word instead"
                )
        else:
            self.permit(operation, caller)
        return caller

    def permit(self, operation: str, caller: Caller) -> None:
        """Raises `Denied` when what is known of the caller does not allow `operation`."""
        if self.mode == "required" and caller.identity is not None:
            check(operation, caller.subject, caller.identity.roles, caller.identity.scope)

    def identify(self, subject: str, headers: Headers, body: bytes, *, now: float | None = None) -> Caller:
        """The identity behind a signed request; `NOBODY` for one without a signature. Raises `NotAuthenticated`.

        `now`: when it arrived, for one that has waited since.
        """
        key = headers.get(KEY_HEADER)
        if key is None:
            return NOBODY
        at = headers.get(AT_HEADER, "")
        moment = self._clock() if now is None else now
        proof = Proof(
            key=key,
            at=at,
            signature=headers.get(SIGNATURE_HEADER, ""),
            subject=subject,
            body=msgspec.Raw(body or b"{}"),
            behalf=headers.get(BEHALF_HEADER, ""),
        )
        caller = self._verified(proof, body, now=moment)
        try:
            apart = abs(parse_time(at) - moment)
        except BadInput as error:
            raise NotAuthenticated(f"{AT_HEADER} {at!r} is no time: {error}") from error
        if apart > SIGNATURE_SECONDS:
            raise NotAuthenticated(
                f"the request was signed at {at}, {apart:.0f} s from now ({format_time(moment)}), at most {SIGNATURE_SECONDS:.0f} s are "
                "allowed: sign it anew, and check the clocks"
            )
        return caller

    def vouched(self, mail: DecideApproval) -> DecideApproval:
        """A decision that came by the mailbox, made again from what was signed. Raises `NotAuthenticated` for one that nobody signed.

        Another replica has checked it already; whoever else can publish there has not.
        """
        if self.mode != "required":
            return mail if mail.proof is not None else msgspec.structs.replace(mail, authenticated=False)
        proof = mail.proof
        if proof is None:
            raise NotAuthenticated("a decision on an approval came by the mailbox without the signed request behind it")
        if proof.subject != self._deciding:
            raise NotAuthenticated(f"a decision on an approval came by the mailbox with a signature for {proof.subject!r}")
        caller = self._verified(proof, bytes(proof.body), now=self._clock())
        self.permit("approvals.decide", caller)
        request = decode(ApprovalsDecide, proof.body)
        return msgspec.structs.replace(
            mail,
            by=caller.subject,
            roles=caller.roles(request.roles),
            authenticated=True,
            via=caller.via,
            tenant=caller.bound_to or "",
            agents=caller.agents,
            approval_id=request.approval_id,
            decision=request.decision,
            reason=request.reason,
            args=request.args,
            answer=request.answer,
        )

    def _verified(self, proof: Proof, body: bytes, *, now: float) -> Caller:
        """Whose word `proof` is. Raises `NotAuthenticated`, or `Denied` for one that may not act for whom it names."""
        identity = self._identities.find(proof.key)
        if identity is None:
            raise NotAuthenticated(f"no identity has the key {proof.key[:12]}…: add it to WAYPOST_API_TOKENS_FILE")
        if identity.expired(now):
            raise NotAuthenticated(f"the identity of {identity.subject} has expired")
        if not verifies(proof.key, proof.signature, signed_bytes(proof.subject, proof.at, body, proof.behalf)):
            raise NotAuthenticated(f"the signature is not {identity.subject}'s over this request: it was forged, or changed on its way")
        strict = self.mode == "required"
        if not proof.behalf:
            return Caller(identity, proof, strict=strict)
        try:
            behalf = unpack_behalf(proof.behalf)
        except BadInput as error:
            raise NotAuthenticated(str(error)) from error
        return Caller(identity.acting_for(behalf), proof, strict=strict, via=identity.subject)


def gatekeeper(settings: CoordinatorSettings, clock: Callable[[], float]) -> Gatekeeper:
    """By the settings; says once how it will be. Raises `Misconfigured`."""
    identities = Identities(settings.api_tokens_file)
    mode: Mode
    if settings.auth == "off":
        mode = "word"
    elif len(identities) or settings.auth == "required":
        mode = "required"
    else:
        mode = "word" if _only_here(settings.nats_url) else "closed"
    if mode == "required" and not len(identities):
        raise Misconfigured("WAYPOST_AUTH=required and no identities: name a file in WAYPOST_API_TOKENS_FILE, see docs/approvals.md")
    match mode:
        case "required":
            log.info("callers_are_authenticated", identities=len(identities))
        case "word":
            log.warning("callers_are_taken_at_their_word", auth=settings.auth, identities=len(identities))
        case "closed":
            log.warning("nobody_can_decide_approvals", reason="no identities in WAYPOST_API_TOKENS_FILE")
    return Gatekeeper(identities, mode, Subjects(settings.prefix), clock, services_sign=settings.auth_services == "signed")


def _only_here(nats_url: str) -> bool:
    """Whether every NATS server is on this machine's loopback: then whoever reaches it is here already."""
    return all(_is_loopback(urlsplit(url.strip()).hostname or "") for url in nats_url.split(","))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
