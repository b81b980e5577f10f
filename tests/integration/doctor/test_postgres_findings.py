"""What is wrong with Postgres, made to be wrong: doctor sees it and says how to mend it."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from tests.integration.doctor.conftest import Examine
from tests.waiting import wait_until
from waypost_cli.doctor import postgres_checks
from waypost_io.servers import EmbeddedPostgres
from waypost_io.servers import free_port as choose_port
from waypost_io.store.ports import HeadRow
from waypost_io.store.postgres import PostgresStore

pytestmark = pytest.mark.slow
"""Each makes a server wrong, and many start one of their own."""

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def test_no_server(examine: Examine, env: dict[str, str], free_port: int) -> None:
    look = await examine(**{**env, "WAYPOST_POSTGRES_URL": f"postgresql://x:secret@127.0.0.1:{free_port}/x"})
    assert look.code == 3
    assert "start the server" in look["postgres"]["mend"]
    assert "secret" not in str(look.all)


async def test_a_database_that_is_not_there(examine: Examine, env: dict[str, str]) -> None:
    look = await examine(**{**env, "WAYPOST_POSTGRES_URL": env["WAYPOST_POSTGRES_URL"].rsplit("/", 1)[0] + "/nowhere"})
    assert look.code == 1
    assert '"nowhere" does not exist' in look["postgres"]["found"]
    assert "user, password and database" in look["postgres"]["mend"]


async def test_a_login_that_is_not_there(examine: Examine, env: dict[str, str]) -> None:
    look = await examine(**{**env, "WAYPOST_POSTGRES_URL": env["WAYPOST_POSTGRES_URL"].replace("postgres@", "nobody@")})
    assert look.code == 1
    assert "nobody" in look["postgres"]["found"]


async def test_an_old_server_is_told_by_its_number(examine: Examine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    # no wheel carries one that is too old: the bar is raised instead
    monkeypatch.setattr("waypost_cli.doctor.database_checks.OLDEST", 99)
    look = await examine(**env)
    assert "is too old" in look["postgres"]["found"]
    assert look["postgres"]["mend"] == "use Postgres 99 or later"


async def test_a_schema_that_is_not_migrated(examine: Examine, env: dict[str, str], postgres: EmbeddedPostgres) -> None:
    url = await postgres.create_database(f"bare{uuid.uuid4().hex[:8]}")
    look = await examine(**{**env, "WAYPOST_POSTGRES_URL": url})
    assert (look.code, look["migrations"]["mend"]) == (1, "run `waypost migrate`")


async def test_a_schema_of_a_newer_version(examine: Examine, env: dict[str, str], admin: asyncpg.Connection) -> None:
    await admin.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'later', '\\x00')")
    try:
        look = await examine(**env)
    finally:
        await admin.execute("DELETE FROM schema_migrations WHERE version = 9999")
    assert look["migrations"]["level"] == "failure"
    assert "version of Waypost" in look["migrations"]["mend"]


@pytest.mark.parametrize(
    ("setting", "check", "says"),
    [
        ("default_transaction_read_only = on", "postgres primary", "RESET default_transaction_read_only"),
        ("synchronous_commit = off", "postgres durability", "set synchronous_commit = on"),
    ],
)
async def test_settings_of_the_database(
    examine: Examine, env: dict[str, str], admin: asyncpg.Connection, setting: str, check: str, says: str
) -> None:
    database = await admin.fetchval("SELECT current_database()")
    await admin.execute(f'ALTER DATABASE "{database}" SET {setting}')
    try:
        look = await examine(**env)
    finally:
        await admin.execute("SET default_transaction_read_only = off")
        await admin.execute(f'ALTER DATABASE "{database}" RESET ALL')
    assert look[check]["level"] == "failure"
    assert says in look[check]["mend"]


async def test_a_server_that_does_not_sync(examine: Examine, own_postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(own_postgres.url)
    await connection.execute("ALTER SYSTEM SET fsync = off")
    await connection.execute("SELECT pg_reload_conf()")
    await wait_until(lambda: connection.fetchval("SELECT current_setting('fsync') = 'off'"))
    await connection.close()
    look = await examine(WAYPOST_POSTGRES_URL=own_postgres.url)
    assert "fsync = off" in look["postgres durability"]["found"]


async def test_logins_with_too_few_rights(examine: Examine, env: dict[str, str], admin: asyncpg.Connection) -> None:
    for login, role in (("doctor_none", ""), ("doctor_reader", "waypost_reader"), ("doctor_gateway", "waypost_gateway")):
        await admin.execute(f"DO $$ BEGIN CREATE ROLE {login} LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        if role:
            await admin.execute(f"GRANT {role} TO {login}")
    found = {}
    for login in ("doctor_none", "doctor_reader", "doctor_gateway"):
        url = env["WAYPOST_POSTGRES_URL"].replace("postgres@", f"{login}@")
        found[login] = (await examine(**{**env, "WAYPOST_POSTGRES_URL": url}))["postgres rights"]
    assert [finding["level"] for finding in found.values()] == ["failure", "warning", "ok"]
    assert "GRANT waypost_coordinator" in found["doctor_none"]["mend"]
    assert found["doctor_gateway"]["found"] == "doctor_gateway may do the work of gateway"


@pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="no pgbouncer here")
@pytest.mark.parametrize(("mode", "prepared", "level"), [("transaction", 0, "failure"), ("transaction", 200, "ok"), ("session", 0, None)])
async def test_a_pooler_in_between(examine: Examine, env: dict[str, str], mode: str, prepared: int, level: str | None) -> None:
    version = subprocess.run([PGBOUNCER, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    if prepared and tuple(map(int, version.split(".")[:2])) < (1, 21):
        pytest.skip(f"pgbouncer {version} cannot keep prepared statements")
    port, parts = choose_port(), urlsplit(env["WAYPOST_POSTGRES_URL"])
    folder = Path(tempfile.mkdtemp())  # pgbouncer gives root up, and must read it
    folder.chmod(0o755)
    config = folder / "pgbouncer.ini"
    lines = [
        "[databases]",
        f"{parts.path[1:]} = user=postgres host={parts.hostname} port={parts.port}",
        "[pgbouncer]",
        "listen_addr = 127.0.0.1",
        f"listen_port = {port}",
        "unix_socket_dir =",
        "auth_type = any",
        f"pool_mode = {mode}",
        "default_pool_size = 5",
    ]
    config.write_text("\n".join([*lines, *([f"max_prepared_statements = {prepared}"] if prepared else []), ""]))
    log_path = folder / "log"
    log = log_path.open("wb")
    process = await asyncio.create_subprocess_exec(PGBOUNCER, "-u", "nobody", str(config), stdout=log, stderr=log)
    try:
        await wait_until(lambda: b"listening on" in log_path.read_bytes(), message=log_path.read_text)
        look = await examine(**{**env, "WAYPOST_POSTGRES_URL": f"postgresql://postgres@127.0.0.1:{port}{parts.path}"})
    finally:
        process.terminate()
        await process.wait()
        log.close()
        shutil.rmtree(folder)
    assert look["postgres"]["level"] == "ok"
    if level is None:
        assert "postgres pooler" not in {finding["check"] for finding in look.all}
    else:
        assert look["postgres pooler"]["level"] == level
    if level == "failure":
        assert "max_prepared_statements" in look["postgres pooler"]["mend"]


async def test_connections_that_run_out(examine: Examine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_cli.doctor.database_checks.FULL_SHARE", 0.0)
    look = await examine(**env)
    assert " in use" in look["postgres connections"]["found"]
    assert "max_connections" in look["postgres connections"]["mend"]


async def test_a_clock_that_is_off(examine: Examine, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(postgres_checks.time, "time", lambda: real() - 90)  # type: ignore[attr-defined]
    look = await examine(**env)
    monkeypatch.undo()
    assert "ahead of this machine" in look["clock"]["found"]
    assert "NTP" in look["clock"]["mend"]


async def test_partitions_that_nobody_owns(examine: Examine, env: dict[str, str], admin: asyncpg.Connection) -> None:
    await admin.execute("UPDATE partitions SET expires_at = now() - interval '1 minute'")
    look = await examine(**env)
    await admin.execute("UPDATE partitions SET expires_at = now() + interval '10 minutes'")
    assert look["partitions"]["found"] == "1 of 1 have no owner (0)"
    assert "waypost coordinator" in look["partitions"]["mend"]


async def test_dead_letters_that_wait(examine: Examine, env: dict[str, str]) -> None:
    async with PostgresStore(env["WAYPOST_POSTGRES_URL"]) as store:
        dead_id = await store.dead.add(origin="tasks", subject="s", reason="not JSON", body=b"{", headers={}, source="s", run_id=None)
        look = await examine(**env)
        await store.dead.remove(dead_id)
    assert look["dead letters"]["found"] == "1, the first: not JSON"
    assert "waypost dead list" in look["dead letters"]["mend"]


async def test_an_audit_log_that_lags_or_was_cut(
    examine: Examine, env: dict[str, str], admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_checks, "MAX_LAG_EVENTS", -1)
    look = await examine(**env)
    assert "waypost audit-logger" in look["audit log"]["mend"]
    async with PostgresStore(env["WAYPOST_POSTGRES_URL"]) as store:
        await store.audit.add_head(HeadRow(size=7, key_id="k", signed_at=1.0, note="n"))
    look = await examine(**env)
    await admin.execute("DELETE FROM audit_heads")
    assert "covers 7 events, the log has 0" in look["audit log"]["found"]
    assert "audit verify" in look["audit log"]["mend"]
