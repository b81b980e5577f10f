"""Pins and their review: what is written, what is noticed, and what a person sees."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from tests.unit.waypost.mcp.conftest import HERE
from waypost import hosted, load_module
from waypost.mcp.pins import PinnedTool, changes, read_pins, write_pins
from waypost.mcp.review import compare
from waypost_cli.__main__ import run
from waypost_proto.errors import Misconfigured

MODULE = """
    from waypost import Context, agent
    from waypost.mcp import McpProcess, mcp_tools

    rough = mcp_tools("rough", McpProcess(command={python!r}, args=[{script!r}, "{what}"]), pins="rough.mcp.json", effects={{"go": "read"}})


    @agent(tools=[rough["rough-go"]])
    async def walker(ctx: Context) -> str:
        return await ctx.call(rough["rough-go"])
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "walkers.py"
    _write(path)
    yield path
    _forget()


def _write(path: Path, what: str = "") -> None:
    path.write_text(textwrap.dedent(MODULE.format(python=sys.executable, script=str(HERE / "rough_server.py"), what=what)))
    _forget()


def _forget() -> None:
    for name in [name for name in sys.modules if name.startswith("walkers")]:
        del sys.modules[name]


def test_from_nothing_to_a_hosted_tool(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Misconfigured, match="waypost mcp review MODULE"):
        load_module(str(module))
    _forget()
    assert run(["mcp", "review", str(module)]) == 1
    seen = capsys.readouterr()
    assert "+ go  (new)" in seen.out
    assert '"description": "Goes."' in seen.out
    assert "1 tools differ from their pins; accept it with --accept" in seen.err
    assert not (module.parent / "rough.mcp.json").exists()
    _forget()
    assert run(["mcp", "review", str(module), "--accept"]) == 0
    _forget()
    assert run(["mcp", "review", str(module)]) == 0
    _forget()
    assert [tool.name for tool in hosted(load_module(str(module)))[1]] == ["rough-go"]


def test_a_change_is_shown_and_accepted_by_name(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = PinnedTool(name="go", description="Went.\x1b[2J", input_schema={"type": "object"})
    write_pins(module.parent / "rough.mcp.json", [old, PinnedTool(name="gone", input_schema={})])
    assert run(["mcp", "review", str(module), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {row["tool"]: row["status"] for row in rows} == {"go": "changed", "gone": "gone"}
    _forget()
    assert run(["mcp", "review", str(module), "--accept", "--tool", "go"]) == 1
    seen = capsys.readouterr()
    assert "! go  (changed)" in seen.out
    assert '+  "description": "Goes."' in seen.out
    assert "\x1b" not in seen.out
    assert "1 tools differ" in seen.err
    assert set(read_pins(module.parent / "rough.mcp.json") or {}) == {"go", "gone"}
    _forget()
    assert run(["mcp", "review", str(module), "--accept"]) == 0
    assert set(read_pins(module.parent / "rough.mcp.json") or {}) == {"go"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere.py"], 2, "nowhere.py"),
        (["--server", "other"], 2, "there is rough"),
        (["--tool", "go"], 2, "give both"),
        (["--accept", "--tool", "nope"], 2, "no tool 'nope'; there is go"),
    ],
)
def test_what_cannot_be_reviewed(module: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, told: str) -> None:
    given = arguments if arguments[0].endswith(".py") else [str(module), *arguments]
    assert run(["mcp", "review", *given]) == code
    assert told in capsys.readouterr().err


def test_a_server_that_does_not_start_is_one_line_and_exit_3(module: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(module, "broken")
    assert run(["mcp", "review", str(module)]) == 3
    assert "nothing was sent" in capsys.readouterr().err


def test_a_module_without_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "walkers_none.py").write_text("x = 1\n")
    assert run(["mcp", "review", str(tmp_path / "walkers_none.py")]) == 2
    assert "defines no MCP server" in capsys.readouterr().err
    _forget()


def test_pins_that_were_edited_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    write_pins(path, [PinnedTool(name="go", description="Goes.", input_schema={"type": "object"})])
    path.write_text(path.read_text().replace("Goes.", "Goes, and tells mallory."))
    with pytest.raises(Misconfigured, match="is not what was accepted"):
        read_pins(path)
    path.write_text("{}")
    with pytest.raises(Misconfigured, match="no file of pins"):
        read_pins(path)
    path.write_text('{"waypost_mcp_pins":2,"tools":[]}')
    with pytest.raises(Misconfigured, match="format 2"):
        read_pins(path)
    assert read_pins(tmp_path / "none.json") is None


def test_everything_that_a_model_or_a_check_goes_by_is_pinned() -> None:
    tool = PinnedTool(name="go", title="T", description="D", input_schema={"a": 1}, output_schema={"b": 1}, annotations={"c": 1})
    assert changes(tool, tool) == []
    assert changes(tool, None) == ["the server does not offer it any more"]
    others = {"title": "x", "description": "x", "input_schema": {}, "output_schema": None, "annotations": {}}
    for field, value in others.items():
        other = structs.replace(tool, **{field: value})
        assert changes(tool, other) == [f"its {field.replace('_', ' ')} has changed"]
        assert tool.digest != other.digest


def test_the_order_of_keys_is_no_change() -> None:
    first = PinnedTool(name="go", input_schema={"type": "object", "properties": {"a": {}, "b": {}}})
    second = PinnedTool(name="go", input_schema={"properties": {"b": {}, "a": {}}, "type": "object"})
    assert [finding.status for finding in compare({"go": first}, {"go": second})] == ["same"]
