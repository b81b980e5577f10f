"""Each service's role can do its work and nothing that belongs to another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.conformance.store.rows import CALL, PARTITIONS, Owner, approval_row, inbox_row, new_run_id, permit_row, start, timer_row
from waypost_io.servers import EmbeddedPostgres
from waypost_io.store import PostgresStore
from waypost_io.store.migrate import migrate
from waypost_io.store.ports import AnchorRow, BlobRow, HeadRow
from waypost_proto.errors import Misconfigured
from waypost_proto.ids import digest_of

ROLES = ["waypost_coordinator", "waypost_gateway", "waypost_audit", "waypost_reader"]


@asynccontextmanager
async def store_of(postgres: EmbeddedPostgres, url: str, role: str) -> AsyncIterator[PostgresStore]:
    """A store whose login has this role and nothing else."""
    login = f"{role}_login"
    admin = await asyncpg.connect(postgres.url)
    try:
        await admin.execute(f"DO $$ BEGIN CREATE ROLE {login} LOGIN IN ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    finally:
        await admin.close()
    async with PostgresStore(url.replace("postgres@", f"{login}@"), pool_size=2) as store:
        yield store


async def test_the_coordinator_writes_what_is_its_own(postgres: EmbeddedPostgres, postgres_url: str) -> None:
    async with store_of(postgres, postgres_url, "waypost_coordinator") as store:
        await store.leases.ensure_partitions(PARTITIONS)
        leases = await store.leases.acquire("me", at_most=PARTITIONS, lease_seconds=60)
        me = Owner(store, "me", {lease.partition: lease for lease in leases})
        run_id = await me.run()
        await me.commit(
            me.event(run_id),
            set_timers=[timer_row(run_id)],
            clear_timers=[(run_id, "x")],
            permits=[permit_row(run_id)],
            approvals=[approval_row(run_id)],
            inbox_add=[inbox_row(run_id, sender=run_id)],
            inbox_remove=["x"],
            blobs=[BlobRow(digest_of(b"1"), b"1")],
        )
        result = await me.commit(me.event(run_id), revoke_runs=[run_id])
        assert [row.state for row in result.revoked] == ["revoked"]
        await store.keys.reserve([("t", "a", "k", run_id, "d")])
        await store.streams.save({"S": ("c", 1)})
        await store.dead.count_failure("s")
        dead_id = await store.dead.add(origin="o", subject="s", reason="r", body=b"", headers={}, source="s", run_id=None)
        await store.dead.remove(dead_id)
        assert await store.maintenance.upkeep() == []
        assert await store.audit.cursors() == {}
        with pytest.raises(Misconfigured, match="audit_log"):
            await store.audit.acquire("me", origin="o", lease_seconds=1)
        await store.leases.release("me", {lease.partition: lease.epoch for lease in leases})


async def test_the_gateway_moves_the_ledger_and_no_run(postgres: EmbeddedPostgres, postgres_url: str) -> None:
    async with PostgresStore(postgres_url) as owner, store_of(postgres, postgres_url, "waypost_gateway") as store:
        await owner.leases.ensure_partitions(PARTITIONS)
        leases = await owner.leases.acquire("gateway test", at_most=PARTITIONS, lease_seconds=60)
        me = Owner(owner, "gateway test", {lease.partition: lease for lease in leases})
        run_id = await me.run()
        granted = approval_row(run_id, "granted", state="granted")
        await me.commit(me.event(run_id), approvals=[granted], permits=[permit_row(run_id, approval_id="granted")])
        assert (await start(store, run_id, approval_id="granted"))[0]
        assert await store.ledger.settle(run_id, CALL, attempt=1, state="done", result=b"1")
        await store.blobs.put(b"result")
        await store.definitions.tools()
        letter = {
            "origin": "tools",
            "subject": "s",
            "reason": "r",
            "body": b"{",
            "headers": {},
            "source": f"TOOLS.{run_id}",
            "run_id": None,
        }
        assert await store.dead.add(**letter) == await store.dead.add(**letter)
        with pytest.raises(Misconfigured, match="permission denied"):
            await store.dead.remove(1)
        with pytest.raises(Misconfigured, match="permission denied"):
            await store.log.load_runs([run_id])
        with pytest.raises(Misconfigured, match="permission denied"):
            await store.log.commit(me.batch(me.event(run_id)))
        await owner.leases.release("gateway test", {lease.partition: lease.epoch for lease in leases})


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE approvals SET expires_at = now()",
        "INSERT INTO tool_ledger (run_id) SELECT run_id FROM tool_ledger",
        "DELETE FROM tool_ledger",
        "SELECT * FROM events",
        "SELECT waypost_create_event_partitions(1)",
    ],
)
async def test_the_gateway_may_not(postgres: EmbeddedPostgres, postgres_url: str, statement: str) -> None:
    await refuses(postgres_url, "waypost_gateway", statement)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = ''",
        "DELETE FROM events",
        "DELETE FROM audit_leaves",
        "UPDATE audit_heads SET note = ''",
        "DROP TABLE events",
    ],
)
async def test_nobody_rewrites_history(postgres: EmbeddedPostgres, postgres_url: str, role: str, statement: str) -> None:
    await refuses(postgres_url, role, statement)


async def refuses(url: str, role: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"SET ROLE {role}")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.execute(statement)
    await connection.close()


async def test_the_audit_logger_appends_and_the_reader_reads(postgres: EmbeddedPostgres, postgres_url: str) -> None:
    async with PostgresStore(postgres_url) as owner:
        await owner.leases.ensure_partitions(PARTITIONS)
        leases = await owner.leases.acquire("audit test", at_most=PARTITIONS, lease_seconds=60)
        me = Owner(owner, "audit test", {lease.partition: lease for lease in leases})
        run_id = await me.run()
        async with store_of(postgres, postgres_url, "waypost_audit") as store:
            events = await store.log.load_events(run_id)
            state = await store.audit.acquire("logger", origin="o", lease_seconds=60)
            assert state is not None
            await store.audit.append(state, await store.audit.pending(10_000), [(1, 2**40, b"")])
            assert await store.audit.lag()
            assert [event.seq for _, event in await store.audit.entries_of_run(run_id)] == [event.seq for event in events]
            await store.audit.add_head(HeadRow(size=2**40, key_id="k", signed_at=0.0, note="n"))
            await store.audit.anchored(AnchorRow(name="a", size=1, anchored_at=0.0, place="p"))
            await store.audit.release("logger", state.epoch)
        async with store_of(postgres, postgres_url, "waypost_reader") as reader:
            assert await reader.reads.get(run_id) is not None
            with pytest.raises(Misconfigured):
                await reader.keys.reserve([("t", "a", "k", new_run_id(), "d")])
        await owner.leases.release("audit test", {lease.partition: lease.epoch for lease in leases})


async def test_a_user_who_may_not_create_roles_migrates_all_the_same(own_postgres: EmbeddedPostgres) -> None:
    admin = await asyncpg.connect(own_postgres.url)
    await admin.execute("CREATE ROLE plain LOGIN")
    await admin.execute("CREATE DATABASE plain OWNER plain")
    url = own_postgres.database_url("plain").replace("postgres@", "plain@")
    await migrate(url)
    assert await admin.fetchval("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'waypost%'") == 0
    async with PostgresStore(url) as store:
        await store.leases.ensure_partitions(PARTITIONS)
    await admin.close()
