"""Requests to `waypost.api.*` with patience: a coordinator that restarts is waited for, anything else is an error at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from copy import copy
from typing import Any, Self, TypeVar

from msgspec import UNSET, Raw, UnsetType

from waypost_io.bus.ports import Bus
from waypost_io.identity import Signs
from waypost_io.payloads import Payloads, answer_of
from waypost_proto.api import Request
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadInput, TransientError, Unreachable
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.subjects import Subjects
from waypost_proto.values import BlobRef

A = TypeVar("A")

_FIRST_TRY_SECONDS = 1.5
"""How long the first attempt waits: the coordinator answers after a commit, which takes milliseconds when all is well. One that is paused
does not answer, and another attempt may reach another one."""
_TRY_SECONDS = 5.0
"""How long later attempts wait at most."""
_FIRST_DELAY_SECONDS = 0.05
_MAX_DELAY_SECONDS = 1.0


class Requests:
    """Asks the API. Every request it sends is safe to repeat, so an attempt without an answer is repeated."""

    def __init__(self, bus: Bus, subjects: Subjects, *, patience_seconds: float, signer: Signs | None = None) -> None:
        self._bus = bus
        self._subjects = subjects
        self._patience = patience_seconds
        self._signer = signer
        self._payloads = Payloads(bus, subjects, signer=signer)

    def signed_by(self, signer: Signs | None) -> Self:
        """The same, with requests that somebody else signs, or nobody."""
        other = copy(self)
        other._signer = signer
        other._payloads = self._payloads.signed_by(signer)
        return other

    async def call(self, endpoint: str, request: Request, answer: type[A]) -> A:
        """Ask `noun.verb` and decode its answer.

        Raises the error that the answer carries, or `Unreachable` when nobody answered for `patience_seconds`.
        """
        noun, _, verb = endpoint.partition(".")
        return decode(answer, await self._ask(self._subjects.api(noun, verb), encode(request)))

    async def _ask(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
        now = asyncio.get_running_loop().time
        until = now() + self._patience
        delay, patience = _FIRST_DELAY_SECONDS, _FIRST_TRY_SECONDS
        while True:
            try:
                if self._signer is not None:  # anew for each try: a signature is good for minutes
                    headers = self._signer.headers(subject, body)
                timeout = max(0.1, min(patience, until - now()))
                return answer_of(await self._bus.request(subject, body, headers=headers, timeout_seconds=timeout)).body
            except Unreachable as error:
                if now() + delay >= until:
                    raise Unreachable(f"no coordinator answers: {error}; start one with `waypost coordinator` or `waypost dev`") from error
            except TransientError:
                if now() + delay >= until:
                    raise
            await asyncio.sleep(delay)
            delay, patience = min(delay * 2, _MAX_DELAY_SECONDS), min(patience * 2, _TRY_SECONDS)

    async def upload(self, what: str, value: Any) -> tuple[Raw, UnsetType] | tuple[UnsetType, BlobRef]:
        """`value` as JSON: inline, or as the reference to an uploaded payload when it is large. Raises `BadInput`, `TooLarge`."""
        try:
            body = encode(value)
        except (TypeError, ValueError, RecursionError) as error:
            raise BadInput(f"{what} of type {type(value).__name__} cannot be sent as JSON: {error}") from error
        if len(body) <= CLAIM_CHECK_BYTES:
            return Raw(body), UNSET
        return UNSET, await self._payloads.store(body)

    async def download(self, ref: BlobRef) -> bytes:
        """The bytes behind a reference, their digest checked. Raises `NotFound`."""
        return await self._payloads.fetch(ref)
