"""Looking at what a server offers before it is accepted: the servers of a module, and what is different from the pins."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec

from waypost.errors import NotExecuted
from waypost.mcp.connection import McpConnection
from waypost.mcp.pins import PinnedTool, changes, read_pins, write_pins
from waypost.mcp.tools import McpToolSet, reviewing
from waypost.modules import load_module
from waypost.tool_context import ToolContext
from waypost_proto.errors import Misconfigured, Unreachable

Status = Literal["same", "new", "changed", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One tool: what is pinned (None: new) and what the server offers (None: gone)."""

    name: str
    status: Status
    pinned: PinnedTool | None
    offered: PinnedTool | None

    def lines(self) -> list[str]:
        """What a person must read to decide: the difference in full, or all of a new tool."""
        before, after = _text(self.pinned), _text(self.offered)
        if self.status == "same":
            return []
        return [line.rstrip("\n") for line in difflib.unified_diff(before, after, "pinned", "offered", n=1)][2:]


def servers_of(module: str) -> list[McpToolSet]:
    """The MCP servers that a module defines. Raises `Misconfigured` for a module that cannot be loaded or has none."""
    with reviewing():
        loaded: ModuleType = load_module(module)
    found = [value for value in vars(loaded).values() if isinstance(value, McpToolSet) and value.module == loaded.__name__]
    if not found:
        raise Misconfigured(f"module {module!r} defines no MCP server with mcp_tools(…)")
    return found


def pins_at(tools: McpToolSet) -> Path:
    """The file of the pins. Raises `Misconfigured` for pins that are no file."""
    if tools.pins is None:
        raise Misconfigured(f"MCP server {tools.name!r}: its pins are given as values; give pins= a path to review them")
    return tools.pins


async def offered_by(connection: McpConnection) -> dict[str, PinnedTool]:
    """What the server offers now. Raises `Unreachable`."""
    found: dict[str, PinnedTool] = {}
    try:
        async with connection.use(ToolContext()) as live:
            found = dict(live.tools)
    except NotExecuted as error:
        raise Unreachable(str(error)) from error
    return found


def compare(pinned: Mapping[str, PinnedTool], offered: Mapping[str, PinnedTool]) -> list[Finding]:
    """Every tool of either side, by name."""
    findings = []
    for name in sorted({*pinned, *offered}):
        before, after = pinned.get(name), offered.get(name)
        status: Status = "new" if before is None else "gone" if after is None else "changed" if changes(before, after) else "same"
        findings.append(Finding(name=name, status=status, pinned=before, offered=after))
    return findings


async def review(tools: McpToolSet) -> list[Finding]:
    """Ask the server and compare. Raises `Misconfigured` or `Unreachable`."""
    pinned = _readable_pins(pins_at(tools))
    return compare(pinned, await offered_by(tools.connection))


def _readable_pins(path: Path) -> dict[str, PinnedTool]:
    """Pins that were altered by hand count as none: all of the server's tools are then new."""
    try:
        return read_pins(path) or {}
    except Misconfigured:
        return {}


def accept(tools: McpToolSet, findings: list[Finding], only: frozenset[str] = frozenset()) -> int:
    """Pin what is offered (of `only`, if given), and forget what is gone. How many pins that changed. Raises `Misconfigured`, `OSError`."""
    kept: list[PinnedTool] = []
    changed = 0
    for finding in findings:
        take = not only or finding.name in only
        chosen = finding.offered if take else finding.pinned
        changed += int(take and finding.status != "same")
        if chosen is not None:
            kept.append(chosen)
    write_pins(pins_at(tools), kept)
    return changed


def _text(tool: PinnedTool | None) -> list[str]:
    if tool is None:
        return []
    return (msgspec.json.format(msgspec.json.encode(tool, order="deterministic"), indent=2).decode() + "\n").splitlines(keepends=True)
