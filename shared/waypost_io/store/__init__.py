"""The database of Waypost: its contract (`ports`), the Postgres adapter, the in-memory adapter. Migrations: `store.migrate`."""

from waypost_io.store.memory import MemoryStore
from waypost_io.store.ports import Commit, CommitResult, Store
from waypost_io.store.postgres import PostgresStore

__all__ = ["Commit", "CommitResult", "MemoryStore", "PostgresStore", "Store"]
