"""The in-memory adapter of `ports.Store`: the semantics of Postgres without a server, for unit tests and deterministic simulation."""

from waypost_io.store.memory.database import MemoryDatabase
from waypost_io.store.memory.store import MemoryStore

__all__ = ["MemoryDatabase", "MemoryStore"]
