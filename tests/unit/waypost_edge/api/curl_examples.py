"""The examples of docs/http-api.md, run with curl: what the page shows must be in what comes back."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import dataclass
from typing import Any

from tests.unit.docs.pages import blocks, text_of
from waypost_proto.ids import parse_run_id

PAGE = "http-api.md"
_ADDRESS = "localhost:8420"
_DOTS = "…"


@dataclass(frozen=True)
class Example:
    """A command, and what the page shows of its output."""

    command: str
    shown: str


def examples() -> list[Example]:
    """Those of the page, in order: each may need what the ones before it made."""
    found: list[Example] = []
    for block in blocks(PAGE, "console"):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            match = re.match(r"(?:.*\\\n)*.*\n", text)
            assert match is not None
            found.append(Example(match[0].replace("\\\n", " ").strip(), text[match.end() :].strip()))
    return found


def left_out() -> list[str]:
    """Commands of the page that are in no block of examples."""
    text = text_of(PAGE)
    return [line for line in text.splitlines() if "curl " in line and not line.startswith("$ curl ")]


async def run_all(host: str, port: int) -> int:
    """Run every example at this address; how many. Raises `AssertionError` where one gives something else."""
    environment = {"PATH": os.environ["PATH"], "TOKEN": "SUNOBODY", "no_proxy": "*", "NO_PROXY": "*"}
    for example in examples():
        assert _ADDRESS in example.command, example.command
        output = await _run(example.command.replace(_ADDRESS, f"{host}:{port}"), environment)
        if example.shown.startswith("{"):
            answer = json.loads(output)
            assert_alike(json.loads(example.shown), answer, example.command)
            environment.setdefault("RUN", answer.get("run_id", ""))
        else:
            assert_alike(_messages(example.shown), _messages(output), example.command)
    return len(examples())


async def _run(command: str, environment: dict[str, str]) -> str:
    process = await asyncio.create_subprocess_exec("/bin/sh", "-euc", command, env=environment, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (command, process.returncode, output)
    return output.decode()


def _messages(text: str) -> list[Any]:
    """Server-sent events as the fields that they have."""
    found = []
    for part in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in part.strip().split("\n"))
        found.append({name: json.loads(value) if name == "data" else value for name, value in fields.items()})
    return found


def assert_alike(shown: Any, found: Any, where: str) -> None:
    """What is shown is there; more may be. Dots stand for anything, and for the rest of an id."""
    match shown:
        case dict():
            assert isinstance(found, dict), where
            for name, value in shown.items():
                assert name in found, f"{where}: no {name!r} in {found}"
                assert_alike(value, found[name], f"{where}: {name}")
        case list():
            assert isinstance(found, list), where
            assert len(found) == len(shown), (where, found)
            for one, other in zip(shown, found, strict=True):
                assert_alike(one, other, where)
        case str() if shown.endswith(f"-{_DOTS}"):
            parse_run_id(found)
        case str() if _DOTS in shown:
            assert re.fullmatch(".*".join(map(re.escape, shown.split(_DOTS))), found, re.DOTALL), (where, found)
        case _:
            assert found == shown, where
