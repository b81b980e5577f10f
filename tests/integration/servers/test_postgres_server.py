"""The embedded Postgres: survives being killed with clients connected, and makes databases cheaply."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest

from waypost_io.servers import EmbeddedPostgres
from waypost_proto.errors import BadInput


async def _value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_what_was_committed_survives_a_kill_with_clients_connected(own_postgres: EmbeddedPostgres) -> None:
    url, pid = own_postgres.url, own_postgres.pid
    others = [await asyncpg.connect(url) for _ in range(5)]
    await others[0].execute("create table t (a int); insert into t values (7)")

    await own_postgres.kill()
    await own_postgres.start()

    assert (own_postgres.url, own_postgres.pid == pid) == (url, False)
    assert await _value(url, "select a from t") == 7
    for connection in others:
        connection.terminate()


async def test_durability_settings_are_on(own_postgres: EmbeddedPostgres) -> None:
    for setting, value in {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "listen_addresses": "127.0.0.1"}.items():
        assert await _value(own_postgres.url, f"show {setting}") == value


async def test_a_database_can_be_copied_and_dropped(postgres: EmbeddedPostgres) -> None:
    first = await postgres.create_database("first-one")
    connection = await asyncpg.connect(first)
    await connection.execute("create table t as select 1 as a")
    await connection.close()

    second = await postgres.create_database("second", template="first-one")
    assert await _value(second, "select a from t") == 1

    open_connection = await asyncpg.connect(first)
    for name in ("first-one", "second", "second"):
        await postgres.drop_database(name)
    open_connection.terminate()
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(second)


async def test_vector_is_there(postgres: EmbeddedPostgres) -> None:
    assert await _value(postgres.url, "select count(*) from pg_available_extensions where name = 'vector'") == 1


async def test_a_name_past_the_limit_is_refused(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(BadInput, match="1 to 63 bytes"):
        await postgres.create_database("x" * 64)


async def test_an_interrupted_creation_is_started_over(server_dir: Path) -> None:
    half_made = server_dir / "postgres-half.making"
    half_made.mkdir()
    (half_made / "PG_VERSION").write_text("18")
    async with EmbeddedPostgres(server_dir / "postgres-half") as server:
        assert await _value(server.url, "select 1") == 1
    assert not half_made.exists()


async def test_the_module_database_is_its_own(postgres_url: str, postgres: EmbeddedPostgres) -> None:
    assert await _value(postgres_url, "select current_database()") != await _value(postgres.url, "select current_database()")
