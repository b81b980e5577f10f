"""Blocks that are not Python: commands exist with their options, JSON, TOML and YAML can be read, paths are there."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from docs.site.reference import command_line

from tests.unit.docs.pages import DOCS, PAGES, ROOT, blocks, text_of
from waypost_cli.app import COMMANDS, GROUPS

_COMMAND = re.compile(r"(?:^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*|&& |; |\| |<\()(?:\.venv/bin/)?waypost ((?:[a-z][a-z-]*(?: |$))+)([^`\n]*)")
_BLOCK = re.compile(r"^```(?!python|json|toml|csv|yaml)[a-z]*\n(.*?)^```|(?:^ {4,}\S.*\n)+", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`(waypost [^`\n]+)`")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_PATH = re.compile(r"kubectl (?:apply|kustomize|diff|delete) (?:-k )?(k8s/[\w/.-]+)")
_MODULE = re.compile(r"python3? -m (tests[\w.]*|waypost_\w+[\w.]*)")
HISTORY = {"CHANGELOG.md"}
MADE_BY_READERS = {"k8s/overlays/mine"}


@cache
def helps() -> str:
    """The help of every command."""
    return command_line()


@cache
def options_of(words: str) -> frozenset[str]:
    """The options of a command, as its help has them."""
    text = helps().split(f"## `waypost {words}`\n", 1)[1].split("\n## ", 1)[0]
    return frozenset(_OPTION.findall(text)) | {"--help"}


def wrong_commands(text: str) -> list[str]:
    """Commands, or options of commands, that a text has and Waypost has not."""
    known = {command.words for command in COMMANDS}
    found = []
    written = _SPAN.findall(text) + [line for block in _BLOCK.finditer(text) for line in block[0].splitlines()]
    for line in written:
        for match in _COMMAND.finditer(line):
            words = match[1].split()
            named = next((" ".join(words[:count]) for count in (2, 1) if " ".join(words[:count]) in known), "")
            if not named:
                if words[0] not in GROUPS or (len(words) > 1 and line.lstrip("$ ").startswith("waypost")):
                    found.append(line.strip())
                continue
            rest = match[2].split(" | ")[0].split(" #")[0].split(";")[0].split("waypost ")[0]
            found += [f"{named} {option}" for option in _OPTION.findall(rest) if option not in options_of(named)]
    return found


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in HISTORY], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist_with_their_options(page: Path) -> None:
    assert wrong_commands(text_of(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_data_can_be_read_and_paths_are_there(page: Path) -> None:
    for block in blocks(page, "json"):
        if "…" not in block:
            assert readable_json(block), block
    for block in blocks(page, "toml"):
        tomllib.loads(block)
    for block in blocks(page, "yaml"):
        list(yaml.safe_load_all(block))
    text = text_of(page)
    assert [path for path in _PATH.findall(text) if not (ROOT / path).exists() and path not in MADE_BY_READERS] == []
    assert [module for module in _MODULE.findall(text) if not is_module(module)] == []
    for block in blocks(page, "console"):
        for line in block.splitlines():
            if line.startswith("$ ") and not line.endswith("\\"):
                shlex.split(line[2:].replace("<", "").replace(">", ""), comments=True)


def readable_json(text: str) -> bool:
    """One document, or one a line; with comments left out."""
    plain = re.sub(r"\s*(?://|#)[^\"\n]*$", "", text, flags=re.MULTILINE)
    try:
        json.loads(plain)
    except json.JSONDecodeError:
        try:
            for line in plain.splitlines():
                if line.strip():
                    json.loads(line)
        except json.JSONDecodeError:
            return False
    return True


def is_module(name: str) -> bool:
    relative = Path(*name.split("."))
    roots = [ROOT, *(ROOT / root for root in ("proto", "shared", "services", "examples"))]
    return any((root / relative).is_dir() or (root / relative.with_suffix(".py")).is_file() for root in roots)


def test_a_wrong_command_option_and_document_are_found() -> None:
    text = (
        "`waypost runs dance` and `waypost runs list --colour`\n\n    waypost frobnicate --x\n\n```console\n$ waypost doctor --fast\n```\n"
    )
    assert wrong_commands(text) == ["waypost runs dance", "runs list --colour", "waypost frobnicate --x", "doctor --fast"]
    assert wrong_commands("`waypost runs list --agent a --json`\n") == []
    assert not readable_json("{]")
    assert not is_module("tests.nowhere")
    assert DOCS.is_dir()
