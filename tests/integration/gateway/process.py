"""Real gateway processes, to kill -9, and the world that their tools act on: a folder in which every effect leaves a line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from tests.waiting import wait_until

MODULE = '''
    import asyncio
    import os
    from pathlib import Path

    from waypost import NOT_DONE, NotExecuted, ToolContext, tool

    WORLD = Path(os.environ["TEST_WORLD"])


    def effect(ctx):
        """One line per effect, on disk before anything else happens."""
        with (WORLD / "effects").open("a") as file:
            file.write(f"{ctx.tool} {ctx.idempotency_key}\\n")
            file.flush()
            os.fsync(file.fileno())


    def lines(ctx):
        path = WORLD / "effects"
        wanted = f"{ctx.tool} {ctx.idempotency_key}"
        return path.read_text().splitlines().count(wanted) if path.exists() else 0


    async def act(ctx):
        if (WORLD / "busy").exists():
            raise NotExecuted("busy", retry_after=2.5)
        effect(ctx)
        while (WORLD / "hang").exists():
            await asyncio.sleep(0.01)
        return f"by {os.getpid()}"


    @tool(effect="read", timeout=20)
    async def look(ctx: ToolContext, amount: int) -> str:
        return await act(ctx)


    @tool(effect="idempotent", timeout=20)
    async def put(ctx: ToolContext, amount: int) -> str:
        return await act(ctx)


    async def find(ctx: ToolContext, amount: int) -> str:
        found = lines(ctx)
        if found == 0:
            return NOT_DONE
        return f"found {found}"


    @tool(effect="unsafe", timeout=2, reconcile=find)
    async def post(ctx: ToolContext, amount: int) -> str:
        return await act(ctx)
'''


class World:
    """What the tools see and leave behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.module = folder / "world_tools.py"
        self.module.write_text(textwrap.dedent(MODULE))

    def effects(self, key: str) -> int:
        path = self.folder / "effects"
        return sum(line.endswith(f" {key}") for line in path.read_text().splitlines()) if path.exists() else 0

    def set(self, flag: str, on: bool) -> None:
        """`hang`: tools hang after their effect. `busy`: they refuse before it."""
        path = self.folder / flag
        path.touch() if on else path.unlink(missing_ok=True)


class GatewayProcess:
    """`python -m waypost_gateway` on the given servers. Use as an async context manager; leaving kills what still runs."""

    def __init__(self, world: World, *, nats_url: str, postgres_url: str, prefix: str, ops_port: int = 0, **env: str) -> None:
        self._world = world
        self._ops_port = ops_port
        self._env = {
            **os.environ,
            "TEST_WORLD": str(world.folder),
            "WAYPOST_NATS_URL": nats_url,
            "WAYPOST_POSTGRES_URL": postgres_url,
            "WAYPOST_PREFIX": prefix,
            "WAYPOST_GATEWAY_ACK_WAIT_SECONDS": "1",
            "WAYPOST_GATEWAY_LEASE_SECONDS": "1",
            "WAYPOST_GATEWAY_SETTLE_SECONDS": "0.2",
            "WAYPOST_LOG_FORMAT": "json",
            **({"WAYPOST_OPS_ADDR": f"127.0.0.1:{ops_port}"} if ops_port else {}),
            **env,
        }

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "waypost_gateway",
            str(self._world.module),
            env=self._env,
            stderr=(self._world.folder / "log").open("ab"),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        await self.process.wait()

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def dies(self) -> None:
        """Wait until it has killed itself at a fault point."""
        assert await self.process.wait() == -signal.SIGKILL, self.log

    @property
    def log(self) -> str:
        return (self._world.folder / "log").read_text()

    async def page(self, path: str) -> tuple[int, str]:
        """Status and body of an ops page."""
        return await asyncio.to_thread(_get, f"http://127.0.0.1:{self._ops_port}{path}")

    async def serving(self) -> None:
        """Wait until the ops server answers."""
        await wait_until(lambda: self.page("/livez"), ignore=(OSError,))


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
