"""Real servers for every test that asks for them, one of each per session.

nats, nats_url            EmbeddedNats of the session, its URL; tests share it, so use `prefix`, and never kill it
postgres, postgres_url    EmbeddedPostgres of the session, the URL of a migrated database of this test module
prefix                    a subject and stream prefix of this test; its streams are deleted afterwards
own_nats, own_postgres    servers of this test alone, to kill, wipe and restart
free_port                 a loopback port
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import hypothesis
import nats as nats_client
import pytest
import structlog

from waypost_io.servers import EmbeddedNats, EmbeddedPostgres, NatsOptions
from waypost_io.servers import free_port as choose_port

# The machine's load decides how long an example takes, so time says nothing. Examples are the same each time, so that a change is judged
# by what it changed; `pytest --hypothesis-profile=explore` draws new ones, and prints how to draw a failure again.
hypothesis.settings.register_profile("waypost", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, print_blob=True)
hypothesis.settings.load_profile("waypost")

# streams reserve their `max_bytes` against these, and hundreds of tests make streams
ROOMY = NatsOptions(max_file_bytes=1 << 45, max_memory_bytes=1 << 43)
TEMPLATE = "waypost_template"


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Whatever a test configured (a level, processors): the next one captures logs and must get them all."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True, scope="session")
def _loggers_are_not_cached() -> Iterator[None]:
    """A logger that was used while a test had logging configured as in a service would keep that for the rest of the process."""
    configure = structlog.configure

    def uncached(**settings: Any) -> None:
        configure(**{**settings, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", uncached)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_settings_from_outside() -> Iterator[None]:
    """Tests must not depend on, or touch, what the caller's environment points to."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WAYPOST_")]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True, scope="session")
def _children_compile_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hundreds of processes start from the same sources: where Python writes no bytecode into the tree, it writes it here."""
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            patch.delenv("PYTHONDONTWRITEBYTECODE")
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """Where servers keep their files. Not pytest's temporary directory: each pytest that starts closes that to other users,
    and as root our Postgres is another user."""
    path = Path(tempfile.mkdtemp(prefix="waypost-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
async def nats(server_dir: Path) -> AsyncIterator[EmbeddedNats]:
    """The session's NATS server."""
    async with EmbeddedNats(server_dir / "nats", options=ROOMY) as server:
        yield server


@pytest.fixture(scope="session")
def nats_url(nats: EmbeddedNats) -> str:
    return nats.url


@pytest.fixture
async def prefix(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """Unique, legal as `WAYPOST_PREFIX`. Streams under it are deleted afterwards if the session's server runs."""
    name = f"t{uuid.uuid4().hex[:10]}"
    url: str | None = request.getfixturevalue("nats_url") if "nats_url" in request.fixturenames else None
    yield name
    if url is not None:
        await _delete_streams(url, name)


async def _delete_streams(url: str, prefix: str) -> None:
    connection = await nats_client.connect(url, allow_reconnect=False)
    try:
        stream_api = connection.jsm()
        for stream in await stream_api.streams_info():
            if str(stream.config.name).startswith(prefix.upper()):
                await stream_api.delete_stream(str(stream.config.name))
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def postgres(server_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    """The session's Postgres server. Nobody kills it or the machine under it, so it need not wait for the disk."""
    async with EmbeddedPostgres(server_dir / "postgres") as server:
        connection = await asyncpg.connect(server.url)
        for setting in ("fsync", "full_page_writes"):
            await connection.execute(f"alter system set {setting} = off")
        await connection.execute("select pg_reload_conf()")
        await connection.close()
        yield server


@pytest.fixture(scope="session")
async def postgres_template(postgres: EmbeddedPostgres) -> str:
    """Name of a migrated database that nobody is connected to, to copy."""
    url = await postgres.create_database(TEMPLATE)
    if importlib.util.find_spec("waypost_io.store.migrate") is not None:
        from waypost_io.store.migrate import migrate

        await migrate(url)
    return TEMPLATE


@pytest.fixture(scope="module")
async def postgres_url(postgres: EmbeddedPostgres, postgres_template: str) -> AsyncIterator[str]:
    """URL of a migrated database of this test module."""
    name = f"m{uuid.uuid4().hex[:12]}"
    yield await postgres.create_database(name, template=postgres_template)
    await postgres.drop_database(name)


@pytest.fixture
async def own_nats(server_dir: Path) -> AsyncIterator[EmbeddedNats]:
    """A NATS server of this test, running."""
    path = server_dir / f"nats-{uuid.uuid4().hex[:8]}"
    async with EmbeddedNats(path, options=ROOMY) as server:
        yield server
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
async def own_postgres(server_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A Postgres server of this test, running, with an empty database `postgres`."""
    path = server_dir / f"postgres-{uuid.uuid4().hex[:8]}"
    async with EmbeddedPostgres(path) as server:
        yield server
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def free_port() -> int:
    return choose_port()
