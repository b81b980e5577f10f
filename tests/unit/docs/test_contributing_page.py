"""docs/contributing.md: the tables that it sends people to are there, and are as total as it says."""

from __future__ import annotations

import re
from typing import get_args

from tests.unit.docs.pages import ROOT, text_of
from waypost_core import advancing, evolve, react
from waypost_proto import commands, events

PAGE = text_of("contributing.md")


def test_every_event_has_its_step() -> None:
    assert set(evolve._STEPS) == set(get_args(events.AnyData))
    assert set(react._REACT) <= set(get_args(events.AnyData))
    assert "`_STEPS`" in PAGE
    assert "`_REACT`" in PAGE


def test_every_command_is_taken() -> None:
    assert set(advancing._TAKE) == set(get_args(commands.AnyItem))
    assert "`_TAKE`" in PAGE


def test_the_folders_are_there() -> None:
    layout = PAGE.split("## Layout\n", 1)[1].split("\n## ", 1)[0]
    for line in re.findall(r"^\| (`.*?) \|", layout, re.MULTILINE):
        for folder in re.findall(r"`([^`]+)`", line):
            assert (ROOT / folder).is_dir(), folder


def test_the_commands_are_those_of_the_build() -> None:
    assert (ROOT / ".ci/run").exists()
    for option in re.findall(r"pytest -m \"?(?:not )?(\w+)", PAGE):
        assert f'"{option}: ' in (ROOT / "pyproject.toml").read_text()
