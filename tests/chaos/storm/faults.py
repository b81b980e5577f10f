"""How each kind of fault is made. A strike returns when it is over and its victim was started again, thawed or let go."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import nats
import nats.errors
import nats.js.errors

from tests.chaos.storm.deployment import PREFIX, Deployment
from tests.chaos.storm.links import Link
from tests.chaos.storm.plan import KINDS, SERVICES, Strike
from tests.chaos.storm.processes import Server

Fault = Callable[[Deployment, Strike], Awaitable[bool]]
"""False when there was nothing to strike."""
HOUR_SECONDS = 3_600
_ADMIN_SECONDS = 2.0
_ADMIN_TRIES = 6
_ADMIN_PAUSE_SECONDS = 0.5


async def _kill(made: Deployment, strike: Strike) -> bool:
    made.services[strike.target].send(signal.SIGKILL)
    return True


async def _kill_all(made: Deployment, strike: Strike) -> bool:
    for name in SERVICES:
        made.services[name].send(signal.SIGKILL)
    return True


async def _drain(made: Deployment, strike: Strike) -> bool:
    made.services[strike.target].send(signal.SIGTERM)
    return True


async def _freeze(made: Deployment, strike: Strike) -> bool:
    async with made.services[strike.target].frozen():
        await asyncio.sleep(strike.seconds)
    return True


# -- either server


def _server(made: Deployment, strike: Strike) -> Server:
    """The one that the strike is named after."""
    return made.nats if strike.kind.startswith("nats") else made.postgres


async def _server_kill(made: Deployment, strike: Strike) -> bool:
    server = _server(made, strike)
    async with server.struck():
        await server.server.kill()
        await asyncio.sleep(strike.seconds)
    return True


async def _server_freeze(made: Deployment, strike: Strike) -> bool:
    server = _server(made, strike)
    async with server.struck():
        with server.frozen():
            await asyncio.sleep(strike.seconds)
    return True


# -- NATS


async def _nats_wipe(made: Deployment, strike: Strike) -> bool:
    async with made.nats.struck():
        await made.nats_server.wipe()
        await asyncio.sleep(strike.seconds)
    return True


async def _nats_old_copy(made: Deployment, strike: Strike) -> bool:
    """The store as it was some seconds ago, or in some former round."""
    store = made.nats_server.data_dir / "jetstream"
    copies = sorted(made.folder.glob("nats-copy-*"))
    async with made.nats.struck():
        if not made.nats.server.running or not store.exists():
            return False
        copy = made.folder / f"nats-copy-{len(copies):06d}"
        with made.nats.frozen():
            await asyncio.to_thread(_copied, store, copy)
    await asyncio.sleep(strike.seconds)
    if copies and strike.luck < 0.3:
        copy = copies[int(strike.luck / 0.3 * len(copies))]
    async with made.nats.struck():
        await made.nats_server.wipe()
        await asyncio.to_thread(_copied, copy, store)
    return True


def _copied(source: Path, target: Path) -> None:
    """A copy of files that nobody writes now; what the server left half done is part of it."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


async def _stream_deleted(made: Deployment, strike: Strike) -> bool:
    return await _with_streams(made, lambda streams: streams.delete_stream(f"{PREFIX.upper()}_{strike.target}"))


async def _consumer_deleted(made: Deployment, strike: Strike) -> bool:
    async def delete(streams: nats.js.JetStreamContext) -> bool:
        stream = f"{PREFIX.upper()}_{strike.target}"
        names = sorted(str(info.name) for info in await streams.consumers_info(stream))
        return bool(names) and await streams.delete_consumer(stream, names[int(strike.luck * len(names))])

    return await _with_streams(made, delete)


async def _with_streams(made: Deployment, act: Callable[[nats.js.JetStreamContext], Awaitable[bool]]) -> bool:
    """Tried for a while: other strikes may have the server down just now."""
    for _ in range(_ADMIN_TRIES):
        if await _once_with_streams(made, act):
            return True
        await asyncio.sleep(_ADMIN_PAUSE_SECONDS)
    return False


async def _once_with_streams(made: Deployment, act: Callable[[nats.js.JetStreamContext], Awaitable[bool]]) -> bool:
    try:
        connection = await nats.connect(made.nats_server.url, allow_reconnect=False, connect_timeout=_ADMIN_SECONDS, error_cb=_ignore)
    except (OSError, nats.errors.Error):
        return False
    try:
        return await act(connection.jetstream(timeout=_ADMIN_SECONDS))
    except (OSError, nats.errors.Error):  # it is down, or has no such stream just now
        return False
    finally:
        with contextlib.suppress(OSError, nats.errors.Error):
            await connection.close()


async def _ignore(error: Exception) -> None:
    del error


# -- Postgres


async def _backend_kill(made: Deployment, strike: Strike) -> bool:
    """kill -9 of one server process: Postgres ends all sessions and recovers."""
    async with made.postgres.turn:
        children = made.postgres.processes()[1:]
        if not children:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(children[int(strike.luck * len(children))], signal.SIGKILL)
    return True


async def _backend_cut(made: Deployment, strike: Strike) -> bool:
    """Sessions are ended by an administrator: all, or those of the coordinators."""
    pattern = "waypost-coordinator%" if strike.luck < 0.5 else "%"
    query = """
        select count(pg_terminate_backend(pid)) from pg_stat_activity
        where datname = current_database() and application_name like $1 and pid <> pg_backend_pid()"""
    try:
        connection = await asyncpg.connect(made.database, timeout=_ADMIN_SECONDS, command_timeout=_ADMIN_SECONDS)
        try:
            return bool(await connection.fetchval(query, pattern))
        finally:
            await connection.close(timeout=_ADMIN_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


# -- disks, wires, clocks


async def _disk_full(made: Deployment, strike: Strike) -> bool:
    server = _server(made, strike)
    disk = made.disks[strike.kind.partition("-")[0]]
    async with server.turn:  # the supervisor goes on: a full disk may end the server, and it must come up again by itself
        disk.fill()
        try:
            await asyncio.sleep(strike.seconds)
        finally:
            disk.free()
    return True


async def _twice(made: Deployment, strike: Strike) -> bool:
    before = made.mischief.repeated
    with made.mischief.repeating():
        await asyncio.sleep(strike.seconds)
    return made.mischief.repeated > before


async def _acks_lost(made: Deployment, strike: Strike) -> bool:
    before = made.mischief.swallowed
    with made.mischief.swallowing():
        await asyncio.sleep(strike.seconds)
    return made.mischief.swallowed > before


def _on_link(trouble: Callable[[Link], contextlib.AbstractContextManager[None]]) -> Fault:
    async def fault(made: Deployment, strike: Strike) -> bool:
        links = made.nats_links if strike.kind.startswith("nats") else made.postgres_links
        with trouble(links[strike.target]):
            await asyncio.sleep(strike.seconds)
        return True

    return fault


_stall, _half_open = _on_link(Link.stalled), _on_link(Link.half_open)


async def _clock(made: Deployment, strike: Strike) -> bool:
    """An hour ahead or behind; every third time the service starts with that clock, otherwise it jumps under it. Then it jumps back."""
    made.clocks.shift(strike.target, HOUR_SECONDS if strike.luck < 0.5 else -HOUR_SECONDS)
    try:
        if strike.luck % 0.5 < 0.17:
            made.services[strike.target].send(signal.SIGKILL)
        await asyncio.sleep(strike.seconds)
    finally:
        made.clocks.shift(strike.target, 0)
    return True


FAULTS: dict[str, Fault] = {
    "kill": _kill,
    "kill-all": _kill_all,
    "drain": _drain,
    "freeze": _freeze,
    "nats-kill": _server_kill,
    "nats-freeze": _server_freeze,
    "nats-wipe": _nats_wipe,
    "nats-old-copy": _nats_old_copy,
    "stream-deleted": _stream_deleted,
    "consumer-deleted": _consumer_deleted,
    "postgres-kill": _server_kill,
    "postgres-freeze": _server_freeze,
    "postgres-outage": _server_kill,
    "backend-kill": _backend_kill,
    "backend-cut": _backend_cut,
    "nats-disk-full": _disk_full,
    "postgres-disk-full": _disk_full,
    "twice": _twice,
    "acks-lost": _acks_lost,
    "nats-stall": _stall,
    "nats-half-open": _half_open,
    "postgres-stall": _stall,
    "postgres-half-open": _half_open,
    "clock": _clock,
}
assert FAULTS.keys() == KINDS.keys()
