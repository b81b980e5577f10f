"""The public surface as a type checker sees it: the example of the design passes, mistakes are found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import waypost
import waypost_core
import waypost_io
import waypost_proto

EXAMPLE = """
import asyncio
from datetime import timedelta
from typing import Any

from msgspec import Struct

from waypost import NOT_DONE, Approval, Budget, Context, Retry, ToolContext, agent, remote_tool, tool


class Case(Struct):
    id: str
    account: str


@tool(effect="read", retry=Retry(max_attempts=8), timeout=10)
async def core_banking(account: str) -> dict[str, Any]:
    return {"account": account, "risk": 0.1}


@tool(effect="read", retry=Retry(max_attempts=8))
def sanctions(account: str) -> list[str]:
    return []


async def find_report(ctx: ToolContext, case: Case, risk: float) -> Any:
    return None or NOT_DONE


@tool(effect="unsafe", reconcile=find_report)
async def file_report(ctx: ToolContext, case: Case, risk: float) -> str:
    return ctx.idempotency_key


elsewhere = remote_tool("elsewhere", Case, int)


@agent(tools=[core_banking, sanctions, file_report, elsewhere], budget=Budget(max_steps=50, max_cost_usd=2))
async def compliance(ctx: Context, case: Case) -> str:
    account, hits = await asyncio.gather(ctx.call(core_banking, case.account), ctx.call(sanctions, case.account))
    risk = 0.9 if hits else account["risk"]
    gate = Approval(role="officer", expires=timedelta(hours=48)) if risk > 0.7 else None
    number: int = await ctx.call(elsewhere, case)
    handle = ctx.start(compliance, case)
    word: str = await handle.result()
    signalled: int = await ctx.signal("go", int)
    length: int = await ctx.step(len, word)
    async with asyncio.TaskGroup() as group:
        group.create_task(ctx.call(sanctions, case.account))
    del number, signalled, length
    return await ctx.call(file_report.using(approval=gate), case, risk)


async def plainly() -> str:
    await core_banking("x")
    await sanctions("x")
    return await file_report(Case("1", "a"), 0.5)
"""

MISTAKES = [
    ("await ctx.call(core_banking, 3)", "incompatible type"),
    ("await ctx.call(file_report, case)", "Missing positional argument|Too few arguments"),
    ("x: int = await ctx.call(sanctions, case.account)", "incompatible type"),
    ("y: int = await ctx.call(compliance, case)", "incompatible type"),
    ("await ctx.call(len, 3)", "incompatible type"),
]


def check(folder: Path, source: str) -> str:
    """What mypy --strict says of `source`; "" when it is content."""
    file = folder / "example.py"
    file.write_text(source)
    roots = {Path(package.__path__[0]).parent for package in (waypost, waypost_core, waypost_io, waypost_proto)}
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", f"--cache-dir={folder}", str(file)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={"MYPYPATH": ":".join(map(str, sorted(roots))), "PATH": ""},
    )
    assert not done.stderr, done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith(str(file)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mypy")
    return tmp_path_factory.mktemp("types")


@pytest.mark.slow
def test_the_example_of_the_design_type_checks(folder: Path) -> None:
    assert check(folder, EXAMPLE) == ""


@pytest.mark.slow
def test_mistakes_are_found(folder: Path) -> None:
    body = "".join(f"    {line}\n" for line, _ in MISTAKES)
    said = check(folder, f"{EXAMPLE}\n\nasync def wrong(ctx: Context, case: Case) -> None:\n{body}")
    first = EXAMPLE.count("\n") + 4
    for number, (line, words) in enumerate(MISTAKES):
        found = [text for text in said.splitlines() if f":{first + number}: error" in text]
        assert found, f"nothing was said about `{line}`:\n{said}"
        assert any(word in "".join(found) for word in words.split("|")), (line, found)
