"""Loading users' modules and finding what they define."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from waypost import hosted, load_module
from waypost_proto.errors import Misconfigured

TOOLS = """
from waypost import Context, agent, tool

@tool(effect="read")
async def first() -> int: ...

@tool(effect="unsafe")
async def second(x: int) -> int: ...

variant = second.using(timeout=3)

@agent(tools=[first])
async def solo(ctx: Context) -> int: ...
"""


@pytest.fixture(autouse=True)
def _leave_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_file_is_loaded_with_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "my_tools.py").write_text(TOOLS)
    (tmp_path / "here" / "my_agents.py").write_text(
        "from my_tools import first\nfrom waypost import Context, agent\n@agent(tools=[first])\nasync def lead(ctx: Context) -> None: ...\n"
    )
    module = load_module("here/my_agents.py")
    agents, tools = hosted(module)
    assert [a.name for a in agents] == ["lead"]
    assert tools == []
    assert load_module(str(tmp_path / "here" / "my_agents.py")) is module
    agents, tools = hosted(sys.modules["my_tools"])
    assert [a.name for a in agents] == ["solo"]
    assert [t.name for t in tools] == ["first", "second"]
    assert tools[1].options.timeout_seconds is None


def test_a_package_hosts_what_its_submodules_define(tmp_path: Path) -> None:
    (tmp_path / "desk_pkg").mkdir()
    (tmp_path / "desk_pkg" / "__init__.py").write_text("from desk_pkg.tools import first, solo\n")
    (tmp_path / "desk_pkg" / "tools.py").write_text(TOOLS)
    agents, tools = hosted(load_module("desk_pkg"))
    assert ([a.name for a in agents], [t.name for t in tools]) == (["solo"], ["first"])


def test_a_file_named_like_a_known_module_is_loaded_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(TOOLS)
    module = load_module("json.py")
    assert module is not sys.modules["json"]
    assert [a.name for a in hosted(module)[0]] == ["solo"]


def test_two_tools_with_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "twice.py").write_text(TOOLS + '\n@tool(effect="read", name="first")\nasync def other() -> int: ...\n')
    with pytest.raises(Misconfigured, match="defines two tools named 'first'"):
        hosted(load_module("twice.py"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module_here", "no module 'no_such_module_here'"),
        ("waypost.no_such_part", "no module 'waypost.no_such_part'"),
        ("missing.py", "no file 'missing.py'"),
    ],
)
def test_what_cannot_be_found_is_said(name: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        load_module(name)


def test_an_error_inside_the_module_comes_through(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load_module("broken.py")
    assert "broken" not in sys.modules
    (tmp_path / "imports.py").write_text("import no_such_thing_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_thing_at_all"):
        load_module("imports")


def test_a_file_that_is_not_python_is_named_with_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "half_written.py"
    broken.write_text("x = 1\ndef agent(\n")
    with pytest.raises(Misconfigured, match=r"half_written\.py.* is not Python: .*never closed.*half_written\.py, line 2"):
        load_module(str(broken))
