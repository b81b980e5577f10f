"""What chaos strikes: the platform under its supervisor. Owns nothing; says when something is up again."""

from __future__ import annotations

import asyncio

from waypost.client import Client
from waypost_cli.dev import Supervisor
from waypost_io.servers import EmbeddedNats, NotReady
from waypost_proto.errors import ContractError, WaypostError

PAUSE_SECONDS = 0.1


class Platform:
    """Kills, wipes, and waits for the return, by the supervisor."""

    def __init__(self, supervisor: Supervisor, client: Client) -> None:
        self._supervisor = supervisor
        self._client = client

    async def watch(self) -> None:
        """Until cancelled. Raises what ended the supervisor, should it end."""
        await self._supervisor.wait()

    async def kill(self, name: str) -> None:
        """SIGKILL; the supervisor starts it again."""
        await self._supervisor.kill(name)

    async def wipe_nats(self) -> None:
        """Kill NATS and delete every file of JetStream; the supervisor starts an empty one."""
        await self._nats().wipe()

    async def recovered(self, name: str, seconds: float) -> None:
        """Wait until `name` is ready and the API answers. Raises `NotReady` after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._up(name)
                await self._answers()
        except TimeoutError:
            raise NotReady(f"{name} did not come back within {seconds:g} s after it was struck; see the logs") from None

    async def _up(self, name: str) -> None:
        service = self._supervisor.processes.get(name)
        if service is not None:
            await service.wait_ready()
            return
        server = self._supervisor.nats if name == "nats" else self._supervisor.postgres
        while server is not None and not server.running:  # noqa: ASYNC110 - the supervisor starts it, and tells nobody
            await asyncio.sleep(PAUSE_SECONDS)

    async def _answers(self) -> None:
        while True:
            try:
                await self._client.agents()
            except WaypostError:
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                return

    def _nats(self) -> EmbeddedNats:
        if self._supervisor.nats is None:
            raise ContractError("NATS is not embedded here; chaos is refused then")
        return self._supervisor.nats
