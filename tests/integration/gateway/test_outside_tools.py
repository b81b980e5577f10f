"""OpenAPI and MCP tools in a gateway process on real NATS and Postgres, with a kill -9 while the server is at work."""

from __future__ import annotations

import sys
import tempfile
import textwrap
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.gateway.calling import Start, announcements, killed_at_work, reconciled
from tests.integration.gateway.process import GatewayProcess, World
from tests.unit.waypost.http.provider import Provider, as_json
from tests.unit.waypost.mcp.conftest import HERE as MCP
from tests.unit.waypost.mcp.conftest import offered, processes_of
from tests.unit.waypost_gateway.rig import Rig
from waypost.mcp import McpProcess
from waypost.mcp.pins import write_pins
from waypost_proto.mailbox import ToolFailed, ToolSucceeded
from waypost_proto.values import Effect

MODULE = """
    from pathlib import Path

    from waypost import NOT_DONE
    from waypost.mcp import McpProcess, mcp_tools
    from waypost.openapi import openapi_tools

    HERE = Path(__file__).parent

    document = {{
        "openapi": "3.1.0",
        "servers": [{{"url": "{url}"}}],
        "paths": {{"/things": {{"put": {{
            "operationId": "put",
            "parameters": [{{"name": "amount", "in": "query", "required": True, "schema": {{"type": "integer"}}}}],
        }}}}}},
    }}
    things = openapi_tools(document, timeout=5)


    async def find(ctx, amount):
        wanted = f"post {{ctx.idempotency_key}}"
        path = HERE / "effects"
        return "found" if path.exists() and wanted in path.read_text().splitlines() else NOT_DONE


    world = mcp_tools(
        "world", McpProcess(command={python!r}, args=[{server!r}], env={{"TEST_WORLD": str(HERE)}}), pins="world.mcp.json",
        include=["say", "post"], names={{"say": "look", "post": "post"}}, effects={{"say": "read"}}, timeout=5, reconcile={{"post": find}},
    )
"""


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as server:
        yield server


@pytest.fixture
def world(provider: Provider) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="waypost-world-") as folder:
        made = World(Path(folder))
        server = str(MCP / "world_server.py")
        made.module.write_text(textwrap.dedent(MODULE.format(url=provider.url, python=sys.executable, server=server)))
        yield made


@pytest.fixture
async def start(provider: Provider, world: World, nats_url: str, postgres_url: str, prefix: str) -> Start:
    server = McpProcess(command=sys.executable, args=[str(MCP / "world_server.py")], env={"TEST_WORLD": str(world.folder)})
    write_pins(world.folder / "world.mcp.json", (await offered(server)).values())
    env = {"WAYPOST_HTTP_ALLOW": f"127.0.0.1:{provider.port}"}
    return partial(GatewayProcess, world, nats_url=nats_url, postgres_url=postgres_url, prefix=prefix, **env)


async def test_both_kinds_are_announced_and_called(rig: Rig, provider: Provider, world: World, start: Start) -> None:
    announced = await announcements(rig)
    provider.handle = lambda asked: as_json({"key": asked.headers["idempotency-key"]})
    async with start() as gateway:
        call = rig.call("put")
        put = await rig.run(call)
        assert isinstance(put, ToolSucceeded), (put, gateway.log)
        assert bytes(put.result) == f'{{"key":"{call.idempotency_key}"}}'.encode()
        said = await rig.run(rig.call("look", b'{"text":"hello"}'))
        assert isinstance(said, ToolSucceeded), (said, gateway.log)
        assert bytes(said.result) == b'"hello"'
        posted = rig.call("post")
        assert isinstance(await rig.run(posted), ToolSucceeded)
        assert world.effects(posted.idempotency_key) == 1
        invalid = await rig.run(rig.call("look", b'{"text":1}'))
        assert isinstance(invalid, ToolFailed)
        assert invalid.error.type == "ArgumentsInvalid"
        await rig.settled()
        assert processes_of(world.folder) != []
        assert await gateway.terminate() == 0, gateway.log
        assert processes_of(world.folder) == [], "the gateway stops the servers that it started"
    found = {tool.name: tool for tool in announced[0].tools}
    assert {name: tool.effect for name, tool in found.items()} == {
        "look": Effect.READ,
        "post": Effect.UNSAFE,
        "put": Effect.IDEMPOTENT,
    }
    assert b"amount" in bytes(found["put"].args_schema)
    assert b"text" in bytes(found["look"].args_schema)
    assert "Traceback" not in gateway.log


async def test_a_tool_that_was_changed_is_refused_by_the_gateway(rig: Rig, world: World, start: Start) -> None:
    pins = world.folder / "world.mcp.json"
    server = McpProcess(command=sys.executable, args=[str(MCP / "world_server.py")], env={"TEST_WORLD": str(world.folder)})
    offer = await offered(server)
    old = offer["post"].__class__(
        name="post", description="Posts, as it did when it was reviewed.", input_schema=offer["post"].input_schema
    )
    write_pins(pins, [old, offer["say"]])
    async with start():
        call = rig.call("post")
        answer = await rig.run(call)
        assert isinstance(answer, ToolFailed)
        assert (answer.error.type, answer.retryable) == ("McpToolChanged", False)
        assert "its description has changed" in answer.error.message
    assert world.effects(call.idempotency_key) == 0


@pytest.mark.slow
@pytest.mark.crash
async def test_killed_while_an_mcp_server_is_at_work(rig: Rig, world: World, start: Start) -> None:
    world.set("hang", True)
    call = rig.call("post")
    await killed_at_work(start, rig, call, lambda: world.effects(call.idempotency_key))
    world.set("hang", False)
    async with start(WAYPOST_GATEWAY_SETTLE_SECONDS="0.1") as second:
        settled = await reconciled(rig, call, second)
        assert isinstance(settled, ToolSucceeded), second.log
        assert (settled.via, bytes(settled.result)) == ("reconcile", b'"found"')
    assert world.effects(call.idempotency_key) == 1


async def test_a_gateway_without_pins_says_so_in_one_line(world: World, start: Start) -> None:
    (world.folder / "world.mcp.json").unlink()
    async with start() as gateway:
        assert await gateway.process.wait() == 2
    assert "waypost mcp review MODULE" in gateway.log
    assert "Traceback" not in gateway.log
