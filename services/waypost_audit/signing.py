"""Signs heads: one every so often while the log grows, and one at the end. Owns when, and by which key.

A key that is not the log's current one takes over by a statement that both keys sign; the file must have both at that moment. Of everything
signed the text is committed before anybody sees it, over leaves that are committed: a crash at any instant leaves nothing that a later
head contradicts.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from waypost_audit.metrics import Metrics
from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.heads import Head, KeyStatement, parse_head
from waypost_core.audit.merkle import EMPTY_ROOT
from waypost_core.audit.notes import SigningKey, VerifierKey, signed
from waypost_io import faults
from waypost_io.store.ports import Audit, HeadRow, KeyRow
from waypost_proto.errors import Misconfigured

SAY_SECONDS = 60.0
_log = structlog.get_logger(__name__)


class Signer:
    """Signs for one log. `keys` reads the file, at each signing; `now` is the database's clock, in Unix seconds."""

    def __init__(
        self, audit: Audit, keys: Callable[[], Sequence[SigningKey]], now: Callable[[], Awaitable[float]], *, metrics: Metrics
    ) -> None:
        self._audit = audit
        self._read_keys = keys
        self._now = now
        self._metrics = metrics
        self._known: list[KeyRow] | None = None
        self._said_at = float("-inf")
        self.trouble = ""
        """Why heads are not signed; "" when they are."""
        self._newest: Head | None = None

    def begin(self, newest: HeadRow | None) -> None:
        """What the log has when this process begins to append."""
        self._known = None
        self._note(newest)

    async def sign(self, origin: str, tree: GrowingTree) -> HeadRow | None:
        """Sign a head over the tree, unless there is one of this size. None when nothing was signed; `trouble` says whether that is bad.

        Raises `TransientError`; `ConcurrencyError` when another process has brought in a key.
        """
        if tree.size <= (self._newest.size if self._newest else 0):
            return None
        key = await self._key(origin)
        if key is None:
            return None
        head = Head(origin=origin, size=tree.size, root=tree.root, time=await self._now())
        row = HeadRow(size=head.size, key_id=key.verifier.key_id, signed_at=head.time, note=signed(head.text, [key]))
        faults.point("audit.head.before")
        await self._audit.add_head(row)
        faults.point("audit.head.after")
        self._metrics.heads.inc()
        self._note(row)
        return row

    async def _key(self, origin: str) -> SigningKey | None:
        """The key to sign with, brought in if it is new."""
        try:
            keys = self._read_keys()
        except Misconfigured as error:
            self._refuse(str(error))
            return None
        if self._known is None:
            self._known = await self._audit.keys()
        wanted = keys[-1]
        if self._known and self._known[-1].key_id == wanted.verifier.key_id:
            self.trouble = ""
            return wanted
        old = None
        if self._known:
            last = self._known[-1].key_id
            old = next((key for key in keys if key.verifier.key_id == last), None)
            if old is None:
                self._refuse(
                    f"the log was signed by key {last}, which the key file lacks, so {wanted.verifier.key_id} cannot take over: "
                    "put the old key back, above the new one"
                )
                return None
            if wanted.verifier.key_id in {row.key_id for row in self._known}:
                self._refuse(f"key {wanted.verifier.key_id} has signed before key {last} took over; a key does not come back")
                return None
        await self._bring_in(origin, old, wanted)
        return wanted

    async def _bring_in(self, origin: str, old: SigningKey | None, new: SigningKey) -> None:
        assert self._known is not None
        before: VerifierKey | None = None if old is None else old.verifier
        last = self._newest  # all that is signed is the old key's, all that will be the new one's
        statement = KeyStatement(
            origin=origin,
            size=last.size if last else 0,
            root=last.root if last else EMPTY_ROOT,
            time=await self._now(),
            old=before,
            new=new.verifier,
        )
        row = KeyRow(
            number=len(self._known) + 1,
            key_id=new.verifier.key_id,
            size=statement.size,
            added_at=statement.time,
            note=signed(statement.text, [new] if old is None else [old, new]),
        )
        faults.point("audit.key.before")
        await self._audit.add_key(row)
        faults.point("audit.key.after")
        self._known.append(row)
        self.trouble = ""
        _log.info("a key of the audit log took over", key_id=row.key_id, size=row.size, old=before.key_id if before else "")

    def _refuse(self, why: str) -> None:
        self.trouble = why
        if time.monotonic() - self._said_at > SAY_SECONDS:
            self._said_at = time.monotonic()
            _log.error("heads of the audit log are not signed", error=why)

    def _note(self, head: HeadRow | None) -> None:
        self._newest = None if head is None else parse_head(head.note)[0]
        if head is not None:
            self._metrics.head_size.set(head.size)
            self._metrics.head_at.set(head.signed_at)
