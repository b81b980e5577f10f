"""docs/cli.md is the reference: it names every command and every option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.waypost_cli.conftest import Command
from waypost_cli.app import COMMANDS

TEXT = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
SAID_ONCE = {"--json", "--by", "--help", "--reload", "--reason"}


@pytest.mark.parametrize("command", [command.words for command in COMMANDS])
def test_commands_and_options_are_documented(waypost: Command, command: str) -> None:
    assert re.search(rf"`(waypost )?{re.escape(command)}\b", TEXT), command
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", waypost(*command.split(), "--help").out))
    assert {option for option in options - SAID_ONCE if option not in TEXT} == set()
