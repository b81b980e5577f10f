"""The audit logger with the rights of its own database role, which cannot change what it has written."""

from __future__ import annotations

import os

import asyncpg

from tests.unit.waypost_audit.events import Scribe, check_log
from waypost_audit.bell import Bell
from waypost_audit.logger import AuditConfig, AuditLogger
from waypost_io.bus.memory import MemoryBus
from waypost_io.servers import EmbeddedPostgres
from waypost_io.store.postgres import PostgresStore


async def test_its_role_can_append_and_nothing_else(postgres: EmbeddedPostgres, postgres_template: str) -> None:
    name, user = f"a{os.urandom(6).hex()}", f"au{os.urandom(4).hex()}"
    url = await postgres.create_database(name, template=postgres_template)
    admin = await asyncpg.connect(url)
    await admin.execute(f"CREATE ROLE {user} LOGIN IN ROLE waypost_audit")
    try:
        async with PostgresStore(url) as store, PostgresStore(url.replace("postgres@", f"{user}@")) as limited:
            scribe = await Scribe(store).start()
            await scribe.write({0: 5, 2: 3})
            logger = AuditLogger(limited, Bell(MemoryBus(), "waypost.events.>"), AuditConfig())
            assert await logger.take() == 8
            await check_log(store, scribe.written)
        for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
            for table in ("audit_leaves", "audit_spans", "audit_nodes", "audit_heads", "audit_keys", "events"):
                assert not await admin.fetchval("SELECT has_table_privilege('waypost_audit', $1, $2)", table, privilege)
    finally:
        await admin.execute(f"DROP ROLE {user}")
        await admin.close()
        await postgres.drop_database(name)
