"""Tools of MCP servers: both transports, both protocol eras, and every way in which a server can disappoint."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.waypost.mcp.conftest import offered, process, processes_of, rough
from tests.waiting import wait_until
from waypost import DoNotRetry, NotExecuted, ToolContext
from waypost.http import Egress, EgressRefused, NoAnswer, ResultUnusable, Secret
from waypost.mcp import McpFailed, McpHttp, McpNotConnected, McpProcess, McpRefused, McpToolChanged, McpToolSet, PinnedTool, mcp_tools
from waypost.outside_tools import resources_of
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.values import Effect

CTX = ToolContext(idempotency_key="run/0:1", run_id="0198c0de-0000-7000-8000-000000000001", tool="t")


async def tools_of(server: McpProcess | McpHttp, **options: Any) -> McpToolSet:
    pins = await offered(server)
    return mcp_tools("w", server, pins=pins.values(), **{"timeout": 10, **options})


@pytest.mark.parametrize("protocol", ["auto", "2026-07-28", "legacy"])
@pytest.mark.parametrize("kind", ["process", "http"])
async def test_calls_in_both_eras_over_both_transports(world: Path, http_server: McpHttp, kind: str, protocol: Any) -> None:
    tools = await tools_of(process(world) if kind == "process" else http_server, protocol=protocol)
    async with resources_of(tools.values()):
        assert await tools["w-add"](CTX, a=2, b=3) == {"result": 5}
        assert await tools["w-say"](CTX, text="hello") == "hello"
        with pytest.raises(McpFailed, match="it cannot be done"):
            await tools["w-fail"](CTX)
        sent = await tools["w-meta"](CTX)
        assert "'waypost/idempotency-key': 'run/0:1'" in sent
        assert "00-0198c0de000070008000000000000001-" in sent
        async with tools.connection.use(CTX) as live:
            era = live.client.protocol_version
    assert (era == "2026-07-28") == (protocol != "legacy")


async def test_definitions_come_from_the_pins_and_effects_are_not_the_servers_to_choose(world: Path) -> None:
    pins = (await offered(process(world))).values()
    server = McpProcess(command="/nowhere/at-all")
    tools = mcp_tools("w", server, pins=pins)
    assert {tool.effect for tool in tools.values()} == {Effect.UNSAFE}
    definition = tools["w-add"].definition("b")
    assert definition.description == "Adds two numbers."
    assert b'"a"' in bytes(definition.args_schema)
    assert b"result" in bytes(definition.result_schema)
    trusting = mcp_tools("w", server, pins=pins, trust_annotations=True, effects={"say": "read"}, prefix="", names={"fail": "break-it"})
    assert trusting["add"].effect is Effect.READ
    assert trusting["die"].effect is Effect.IDEMPOTENT
    assert trusting["say"].effect is Effect.READ
    assert trusting["break-it"].effect is Effect.UNSAFE
    assert list(mcp_tools("w", server, pins=pins, include=["say", "add"], exclude=["add"])) == ["w-say"]
    assert trusting["add"].outside


async def test_without_a_gateway_each_call_has_its_own_connection() -> None:
    tools = await tools_of(rough("no"), effects={"go": "read"})
    for _ in range(2):
        with pytest.raises(McpRefused, match="it cannot be done"):
            await tools["w-go"](CTX)


async def test_a_tool_that_was_changed_after_review_is_refused(world: Path) -> None:
    tools = await tools_of(process(world))
    (world / "changed").touch()
    async with resources_of(tools.values()):
        with pytest.raises(McpToolChanged, match=r"its description has changed.*waypost mcp review"):
            await tools["w-add"](CTX, a=1, b=1)
        assert await tools["w-say"](CTX, text="the others go on") == "the others go on"
    assert issubclass(McpToolChanged, DoNotRetry)


async def test_a_server_that_says_its_tools_have_changed_is_asked_again() -> None:
    tools = await tools_of(rough("notify"))
    async with resources_of(tools.values()):
        assert await tools["w-go"](CTX) == "gone"
        await wait_until(lambda: _stale(tools))
        with pytest.raises(McpToolChanged, match="description"):
            await tools["w-go"](CTX)


async def _stale(tools: McpToolSet) -> bool:
    async with tools.connection.use(CTX) as live:
        return live.stale


async def test_a_tool_that_is_gone_and_an_old_listing(world: Path) -> None:
    gone = PinnedTool(name="gone", input_schema={"type": "object"})
    server = process(world)
    tools = mcp_tools("w", server, pins=[gone, *(await offered(server)).values()], recheck=0.000001)
    async with resources_of(tools.values()):
        with pytest.raises(McpToolChanged, match="does not offer it any more"):
            await tools["w-gone"](CTX)
        assert await tools["w-add"](CTX, a=1, b=1) == {"result": 2}, "listed again, and still as reviewed"


async def test_a_server_that_dies_is_started_again(world: Path) -> None:
    tools = await tools_of(process(world), effects={"die": "read"})
    async with resources_of(tools.values()):
        assert await tools["w-add"](CTX, a=1, b=1) == {"result": 2}
        with pytest.raises(NoAnswer, match="closed"):
            await tools["w-die"](CTX)
        assert await tools["w-add"](CTX, a=1, b=2) == {"result": 3}


async def test_a_server_that_was_killed_while_idle_costs_no_call(world: Path) -> None:
    tools = await tools_of(process(world), include=["env", "add"])
    async with resources_of(tools.values()):
        await tools["w-add"](CTX, a=1, b=1)
        async with tools.connection.use(CTX) as live:
            before = live
        (pid,) = await asyncio.to_thread(processes_of, str(world))
        os.kill(pid, signal.SIGKILL)
        await before.ended.wait()
        assert await tools["w-add"](CTX, a=1, b=2) == {"result": 3}
    assert processes_of(str(world)) == [], "nothing is left behind"


async def test_time_limits(world: Path) -> None:
    tools = await tools_of(process(world), timeout=0.3)
    async with resources_of(tools.values()):
        with pytest.raises(NoAnswer, match="timed out"):
            await tools["w-hang"](CTX)
        assert await tools["w-say"](CTX, text="still there") == "still there"


async def test_results_are_bounded(world: Path) -> None:
    tools = await tools_of(process(world), max_bytes=1_000)
    async with resources_of(tools.values()):
        assert len(await tools["w-big"](CTX, size=900)) == 900
        with pytest.raises(ResultUnusable, match="at most 1000"):
            await tools["w-big"](CTX, size=2_000)


async def test_a_flood_without_a_line_ends_the_connection() -> None:
    tools = await tools_of(rough("flood"))
    async with resources_of(tools.values()):
        with pytest.raises(NoAnswer):
            await tools["w-go"](CTX)


@pytest.mark.parametrize(
    ("what", "effect", "error"),
    [
        ("error", "read", McpFailed),
        ("error", "unsafe", McpFailed),
        ("invalid", "read", McpRefused),
        ("invalid", "unsafe", McpFailed),
        ("unknown", "unsafe", McpRefused),
        ("odd", "unsafe", ResultUnusable),
    ],
)
async def test_errors_of_the_protocol(what: str, effect: Any, error: type[Exception]) -> None:
    tools = await tools_of(rough(what), effects={"go": effect})
    with pytest.raises(error):
        await tools["w-go"](CTX)


async def test_what_a_failed_tool_means_is_the_authors_to_say() -> None:
    pins = (await offered(rough())).values()
    for means, error in (("failed", McpRefused), ("retry", NotExecuted), ("unknown", McpFailed)):
        tools = mcp_tools("w", rough("no"), pins=pins, error_means=means)  # type: ignore[arg-type]
        with pytest.raises(error, match="it cannot be done"):
            await tools["w-go"](CTX)


async def test_content_of_other_kinds_and_lines_that_are_no_messages() -> None:
    found = await (await tools_of(rough("blocks")))["w-go"](CTX)
    assert [block["type"] for block in found["content"]] == ["text", "image"]
    assert await (await tools_of(rough("")))["w-go"](CTX) is None


@pytest.mark.parametrize("what", ["broken", "deaf"])
async def test_a_server_that_does_not_start(what: str) -> None:
    pins = (await offered(rough())).values()
    tools = mcp_tools("w", rough(what), pins=pins, connect_timeout=0.7)
    async with resources_of(tools.values()):
        with pytest.raises(McpNotConnected, match="nothing was sent"):
            await tools["w-go"](CTX)
        with pytest.raises(McpNotConnected, match="nothing was sent") as again:
            await tools["w-go"](CTX)
        assert again.value.retry_after is not None, "told at once, without another attempt"


async def test_a_program_that_is_not_there() -> None:
    pins = (await offered(rough())).values()
    tools = mcp_tools("w", McpProcess(command="/nowhere/at-all", args=["--token", "s3cret"]), pins=pins)
    with pytest.raises(McpNotConnected, match="MCP server 'at-all'") as caught:
        await tools["w-go"](CTX)
    assert "s3cret" not in str(caught.value)


async def test_an_endless_list_of_tools_is_cut() -> None:
    assert len(await offered(rough("endless"))) == 100


async def test_secrets_go_to_the_server_and_nothing_else_of_our_environment(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_SECRET_GH", "gh-123456")
    monkeypatch.setenv("WAYPOST_POSTGRES_URL", "postgresql://secret")
    tools = await tools_of(process(world, GH_TOKEN=Secret("gh", "token {}")))
    env = dict(line.split("=", 1) for line in (await tools["w-env"](CTX)).splitlines() if "=" in line)
    assert env["GH_TOKEN"] == "token gh-123456"
    assert not [name for name in env if name.startswith("WAYPOST_")]


async def test_http_servers_pass_the_guard(http_server: McpHttp, free_port: int) -> None:
    pins = (await offered(http_server)).values()
    closed = mcp_tools("w", McpHttp(url=http_server.url), pins=pins)
    with pytest.raises(NotExecuted, match=r"not open"):
        await closed["w-add"](CTX, a=1, b=1)
    nobody = mcp_tools("w", McpHttp(url=f"http://127.0.0.1:{free_port}/mcp", egress=Egress(allow=[f"127.0.0.1:{free_port}"])), pins=pins)
    with pytest.raises(McpNotConnected, match="nothing was"):
        await nobody["w-add"](CTX, a=1, b=1)
    for url in ("http://127.1/mcp", "ftp://x/", "http://u:p@x/"):
        with pytest.raises(EgressRefused):
            McpHttp(url=url)


async def test_an_http_server_that_went_away_puts_no_unsafe_call_in_doubt(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.unit.waypost.mcp import world_server
    from tests.unit.waypost.mcp.conftest import serving

    monkeypatch.setattr(world_server, "WORLD", world)
    async with serving(world_server.make_server().streamable_http_app()) as url:
        server = McpHttp(url=f"{url}/mcp", egress=Egress(allow=[url.removeprefix("http://")]))
        tools = await tools_of(server)
        resources = resources_of(tools.values())
        await resources.__aenter__()
        assert await tools["w-add"](CTX, a=1, b=1) == {"result": 2}
    try:
        with pytest.raises(McpNotConnected, match="nothing was done"):
            await tools["w-add"](CTX, a=1, b=1)
    finally:
        await resources.__aexit__(None, None, None)


async def test_many_calls_at_once_share_one_connection(world: Path) -> None:
    tools = await tools_of(process(world), include=["add"])
    async with resources_of(tools.values()):
        found = await asyncio.gather(*(tools["w-add"](CTX, a=number, b=1) for number in range(30)))
        assert found == [{"result": number + 1} for number in range(30)]
        assert len(processes_of(str(world))) == 1


async def test_cancelling_a_call_leaves_the_connection_for_the_others(world: Path) -> None:
    tools = await tools_of(process(world))
    async with resources_of(tools.values()):
        await tools["w-add"](CTX, a=1, b=1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await tools["w-hang"](CTX)
        assert await tools["w-add"](CTX, a=1, b=2) == {"result": 3}


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"include": ["nope"]}, "include= names 'nope', which is not pinned; there is go"),
        ({"effects": {"go": "safe"}}, "effect='safe'"),
        ({"protocol": "2024-01-01"}, "protocol="),
        ({"names": {"go": "No Name"}}, "No Name"),
        ({"max_bytes": 0}, "max_bytes"),
        ({"exclude": "go"}, "give a list"),
        ({"effects": {"go": "read"}, "reconcile": {"go": print}}, "for unsafe tools"),
        ({"timout": 1}, "no option 'timout'"),
    ],
)
def test_mistakes_are_told_at_the_definition(options: dict[str, Any], why: str) -> None:
    go = PinnedTool(name="go", input_schema={"type": "object"})
    with pytest.raises((BadInput, TypeError), match=why):
        mcp_tools("w", rough(), pins=[go], **options)


def test_pins_that_are_not_there_are_told_with_the_way_to_make_them() -> None:
    with pytest.raises(Misconfigured, match="waypost mcp review MODULE"):
        mcp_tools("w", rough(), pins="not-there.json")
