"""A log with signed heads, made by the real logger."""

from __future__ import annotations

import hashlib

from tests.unit.waypost_audit.events import Scribe
from waypost_audit.bell import Bell
from waypost_audit.logger import AuditConfig, AuditLogger
from waypost_audit.metrics import Metrics
from waypost_audit.signing import Signer
from waypost_core.audit.notes import SigningKey
from waypost_io.bus.memory import MemoryBus
from waypost_io.store.ports import Store


def key(number: int = 1) -> SigningKey:
    """The same for a number each time."""
    return SigningKey("waypost-audit", hashlib.sha256(b"key %d" % number).digest())


class SignedLog:
    """A logger that is driven by hand."""

    def __init__(self, store: Store, *keys: SigningKey, owner: str = "one") -> None:
        self.store = store
        self.keys = list(keys or [key()])
        self.metrics = Metrics()
        self.signer = Signer(store.audit, lambda: self.keys, store.leases.now, metrics=self.metrics)
        config = AuditConfig(owner=owner, origin="waypost/test", lease_seconds=3_600)
        self.logger = AuditLogger(store, Bell(MemoryBus(), "waypost.events.>"), config, signer=self.signer, metrics=self.metrics)

    async def write(self, scribe: Scribe, *batches: dict[int, int]) -> None:
        """Commit, append and sign each of these batches."""
        for counts in batches:
            await scribe.write(counts)
            await self.logger.take()
            assert await self.logger.sign()
