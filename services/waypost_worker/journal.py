"""Reads a run's journal and its large values through the API, for a run whose coroutine is not (or no longer) in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from msgspec import Struct

from waypost.execution import refs_of
from waypost_io.bus.ports import Headers, Message
from waypost_io.identity import Signs
from waypost_io.payloads import Payloads, answer_of
from waypost_proto.api import RunRef
from waypost_proto.codec import decode, encode
from waypost_proto.errors import ContractError, TransientError
from waypost_proto.ids import RunId
from waypost_proto.subjects import Subjects
from waypost_proto.values import Mark
from waypost_proto.work import Entry, JournalPage

_PAGE_ENTRIES = 1_000
_RACES = 5
"""Readings that may fall between two commits of the run before the coordinator's own word is taken."""
_FIRST_DELAY_SECONDS = 0.1
_MAX_DELAY_SECONDS = 5.0
_FIRST_PATIENCE_SECONDS = 1.0
"""A page takes milliseconds; a coordinator that is paused does not answer, and another one does."""
_PATIENCE_SECONDS = 5.0
_log = structlog.get_logger(__name__)


class Asks(Protocol):
    """What the reader needs of the bus."""

    async def request(self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_seconds: float = 5.0) -> Message: ...


class _Marked(Struct):
    """The one field of journal data that is read here."""

    mark: Mark | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """The entries after the seq that was asked for; `digest` and `seen` are those of the whole log."""

    entries: list[Entry]
    digest: str
    seen: int
    status: str


class JournalReader:
    """Waits for a coordinator as long as it takes: while it does, the activation is held and nothing is lost."""

    def __init__(self, bus: Asks, subjects: Subjects, payloads: Payloads, signer: Signs | None = None) -> None:
        self._bus = bus
        self._signer = signer
        self._subject = subjects.api("runs", "journal")
        self._payloads = payloads

    async def read(self, run_id: RunId, after: int = 0) -> Journal:
        """The journal after `after`, oldest first. Raises `NotFound` (no such run). Safe to cancel.

        Pages are read one after another while the run may go on; a digest that is not the one of the last entry read is
        read again.
        """
        for _ in range(_RACES):
            journal = await self._read_once(run_id, after)
            marked = _digest_of(journal.entries)
            if marked in (None, journal.digest):
                break
        return journal

    async def values_of(self, entries: Sequence[Entry]) -> dict[str, bytes]:
        """The large values that these entries refer to, by digest. Raises `NotFound` when one is gone. Safe to cancel."""
        if not may_refer(entries):
            return {}
        values: dict[str, bytes] = {}
        for ref in refs_of(entries):
            delay = _FIRST_DELAY_SECONDS
            while ref.sha256 not in values:
                try:
                    values[ref.sha256] = await self._payloads.fetch(ref)
                except TransientError as error:
                    _log.info("waiting for a coordinator to read a payload", sha256=ref.sha256, error=str(error))
                    delay = await _pause(delay)
        return values

    async def _read_once(self, run_id: RunId, after: int) -> Journal:
        entries: list[Entry] = []
        cursor: int | None = after
        while cursor is not None:
            page = await self._page(run_id, cursor)
            entries += page.entries
            if page.next_after is not None and page.next_after <= cursor:
                raise ContractError(f"runs.journal of {run_id}: the page after {cursor} says that it goes on after {page.next_after}")
            cursor = page.next_after
        return Journal(entries, page.digest, page.seen, page.status)

    async def _page(self, run_id: RunId, after: int) -> JournalPage:
        request = encode(RunRef(run_id=run_id, after=after, limit=_PAGE_ENTRIES))
        delay, patience = _FIRST_DELAY_SECONDS, _FIRST_PATIENCE_SECONDS
        while True:
            try:
                signed = None if self._signer is None else self._signer.headers(self._subject, request)
                answer = await self._bus.request(self._subject, request, headers=signed, timeout_seconds=patience)
                return decode(JournalPage, answer_of(answer).body)
            except TransientError as error:
                _log.info("waiting for a coordinator to read a journal", error=str(error))
            patience = min(patience * 2, _PATIENCE_SECONDS)
            delay = await _pause(delay)


def may_refer(entries: Sequence[Entry]) -> bool:
    """Whether any entry could refer to a large value: a quick look that spares nearly every activation the decoding."""
    return any(b'_ref":' in bytes(entry.data) for entry in entries)


def _digest_of(entries: Sequence[Entry]) -> str | None:
    """The digest that the last marked entry gave the journal."""
    for entry in reversed(entries):
        data = bytes(entry.data)
        if b'"mark":' in data:
            mark = decode(_Marked, data).mark
            if mark is not None:
                return mark.digest
    return None


async def _pause(delay: float) -> float:
    await asyncio.sleep(delay)
    return min(delay * 2, _MAX_DELAY_SECONDS)
