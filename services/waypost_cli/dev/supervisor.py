"""Runs Waypost on one machine: embedded servers unless there are others, and every service as a process of its own, as in production.

    async with Supervisor(DevOptions(modules=("agents.py",)), notify=print) as supervisor:
        client = Client(url=supervisor.nats_url)
        await supervisor.kill("worker")          # it comes back
        await supervisor.nats.wipe()             # so does the server, without its files

Entering returns once everything is ready; leaving ends the services, then the servers. Everything lives in one task of its own, so
entering and leaving may happen in different tasks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from waypost_cli.dev.keeper import ServerKeeper
from waypost_cli.dev.logtail import LogFollower
from waypost_cli.dev.notices import LogLine, Notice, Notify
from waypost_cli.dev.options import DevOptions, service_specs
from waypost_cli.dev.reload import sources, watch
from waypost_cli.dev.service import ServiceProcess
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres, NatsOptions, Running, claimed, last_known, publish
from waypost_io.servers.ports import LOOPBACK, can_bind
from waypost_proto.errors import BadInput


class Supervisor:
    """All processes of one `waypost dev`. `nats` and `postgres` are None when servers from outside are used."""

    def __init__(self, options: DevOptions, *, notify: Notify | None = None, on_log_line: LogLine | None = None) -> None:
        self.options = options
        self.nats: EmbeddedNats | None = None
        self.postgres: EmbeddedPostgres | None = None
        self.nats_url = options.nats_url
        self.postgres_url = options.postgres_url
        self.seconds_to_start = 0.0
        self._notify: Notify = notify or (lambda _notice: None)
        self._on_log_line = on_log_line
        self._services: dict[str, ServiceProcess] = {}
        self._keepers: list[ServerKeeper] = []
        self._up = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def processes(self) -> Mapping[str, ServiceProcess]:
        """The services by name: `coordinator`, `worker`, `gateway`, `audit`, `edge`, and `coordinator-2` … with replicas."""
        return self._services

    @property
    def environment(self) -> dict[str, str]:
        """The variables that let a command or client talk to it."""
        return self._running().environment

    async def __aenter__(self) -> Self:
        """Start everything and wait until it is ready.

        Raises `NotReady` (with the log of what failed), `Misconfigured`. Cancelling ends what was started.
        """
        started = time.monotonic()
        self._task = asyncio.create_task(self._run(), name="supervisor")
        up = asyncio.create_task(self._up.wait())
        try:
            await asyncio.wait([self._task, up], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.__aexit__()
            raise
        finally:
            up.cancel()
        if self._task.done():
            await self.wait()
        self.seconds_to_start = time.monotonic() - started
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End the services in order, then the servers. Cancelling kills what is left."""
        if self._task is None:
            return
        self._stop.set()
        if not self._up.is_set():
            self._task.cancel()
        try:
            await asyncio.wait([self._task])
        except asyncio.CancelledError:
            self._task.cancel()
            await asyncio.wait([self._task])
            raise

    async def wait(self) -> None:
        """Wait until it ends, because it was left or because it failed; raises why."""
        assert self._task is not None, "enter it first"
        await asyncio.wait([self._task])
        if self._task.cancelled():
            return
        error = self._task.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is not None:
            raise error

    async def kill(self, name: str) -> None:
        """SIGKILL a service, or a server (`nats`, `postgres`); it is started again. Raises `BadInput` for an unknown name."""
        server = self._server(name)
        if server is not None:
            self._notify(Notice(name, "killed", f"pid {server.pid}"))
            await server.kill()
        else:
            await self._service(name).kill()

    async def restart(self, name: str) -> None:
        """End a service in order and start it again; returns when it is ready. Raises `BadInput`, `NotReady`."""
        await self._service(name).restart()
        await self._service(name).wait_ready()

    async def wait_ready(self, seconds: float | None = None) -> None:
        """Wait until every service is ready (again). Raises `NotReady`."""
        for service in list(self._services.values()):
            await service.wait_ready(seconds)

    # -- running

    async def _run(self) -> None:
        from waypost_io.audit.keyfile import ensure_key
        from waypost_io.store.migrate import migrate  # the store is much to import for who only looks at the options

        roots = [root for module in self.options.modules for root in sources(module)]
        async with AsyncExitStack() as stack:
            stack.enter_context(claimed(self.options.data_dir))
            await self._start_servers(stack)
            await migrate(self.postgres_url)
            if "audit" in self.options.services:
                ensure_key(self.options.audit_key_file)
            async with asyncio.TaskGroup() as servers:
                keepers = [servers.create_task(keeper.run()) for keeper in self._keepers]
                await self._run_services(roots)
                for keeper in keepers:
                    keeper.cancel()

    async def _start_servers(self, stack: AsyncExitStack) -> None:
        data_dir, last = self.options.data_dir.absolute(), last_known(self.options.data_dir)
        async with asyncio.TaskGroup() as starting:
            if not self.nats_url:
                durability = NatsOptions(durability="strict" if self.options.durability == "strict" else "default")
                self.nats = EmbeddedNats(data_dir / "nats", _port_again(last.nats_url if last else ""), durability)
                stack.push_async_callback(self.nats.stop)
                starting.create_task(self.nats.start())
            if not self.postgres_url:
                self.postgres = EmbeddedPostgres(data_dir / "postgres", _port_again(last.postgres_url if last else ""))
                stack.push_async_callback(self.postgres.stop)
                starting.create_task(self.postgres.start())
        for name, server in (("nats", self.nats), ("postgres", self.postgres)):
            if server is not None:
                self._keepers.append(ServerKeeper(name, server, self._notify))
                self._notify(Notice(name, "ready", f"{server.url} (embedded, pid {server.pid})"))
        self.nats_url = self.nats.url if self.nats is not None else self.nats_url
        self.postgres_url = self.postgres.url if self.postgres is not None else self.postgres_url

    async def _run_services(self, roots: list[Path]) -> None:
        specs = service_specs(self.options, self.nats_url, self.postgres_url)
        self._services = {spec.name: ServiceProcess(spec, self._notify) for spec in specs}
        for spec in specs:
            spec.log_path.unlink(missing_ok=True)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(service.run(), name=service.name) for service in self._services.values()]
            if self._on_log_line is not None:
                follower = LogFollower({spec.name: spec.log_path for spec in specs}, self._on_log_line)
                running.append(tasks.create_task(follower.run(), name="logs"))
            if self.options.reload and roots:
                running.append(tasks.create_task(watch(roots, self._reload), name="reload"))
            await self.wait_ready()
            publish(self.options.data_dir, self._running())
            self._up.set()
            await self._stop.wait()
            for task in running:
                task.cancel()

    async def _reload(self, changed: list[Path]) -> None:
        names = ", ".join(path.name for path in changed[:3]) + (" …" if len(changed) > 3 else "")
        async with asyncio.TaskGroup() as tasks:
            for service in self._services.values():
                if service.spec.reloads:
                    tasks.create_task(service.restart(f"{names} changed"))

    def _running(self) -> Running:
        return Running(pid=os.getpid(), nats_url=self.nats_url, postgres_url=self.postgres_url, prefix=self.options.prefix)

    def _server(self, name: str) -> EmbeddedNats | EmbeddedPostgres | None:
        server = {"nats": self.nats, "postgres": self.postgres}.get(name)
        if server is None and name in ("nats", "postgres"):
            raise BadInput(f"{name} is not embedded: it runs at {self.nats_url if name == 'nats' else 'another place'}; kill it there")
        return server

    def _service(self, name: str) -> ServiceProcess:
        try:
            return self._services[name]
        except KeyError:
            raise BadInput(f"no process {name!r}; there are {', '.join(self._services)}") from None


def _port_again(url: str) -> int:
    """The port of the last time if it is free, so that a URL copied from an earlier start keeps working; else 0."""
    parts = urlsplit(url)
    if parts.hostname != LOOPBACK or not parts.port or not can_bind(parts.port):
        return 0
    return parts.port
