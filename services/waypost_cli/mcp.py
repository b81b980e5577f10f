"""`waypost mcp review`: see what MCP servers offer, and accept it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from waypost_cli.connect import quiet
from waypost_cli.exits import FAILED, Exit
from waypost_cli.options import AsJson
from waypost_cli.output import note, print_json, say
from waypost_proto.errors import BadInput, Misconfigured

if TYPE_CHECKING:
    from waypost.mcp.review import Finding
    from waypost.mcp.tools import McpToolSet

MARKS = {"same": " ", "new": "+", "changed": "!", "gone": "-"}


async def review(
    module: str,
    /,
    *,
    accept: Annotated[bool, Parameter(name="--accept", help="Pin what the servers offer now.")] = False,
    server: Annotated[list[str] | None, Parameter(name="--server", help="Only the server of this name; may be repeated.")] = None,
    tool: Annotated[
        list[str] | None, Parameter(name="--tool", help="Accept only this tool, as the server names it; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Start or call the MCP servers that MODULE defines, and show how what they offer differs from what is pinned.

    With --accept the pins are written. What a server says of its tools is shown to models: read it before. Exit 1 if something differs
    and was not accepted.
    """
    quiet()
    if tool and not accept:
        raise BadInput("--tool chooses what --accept takes: give both")
    try:
        from waypost.mcp import review as reviewing
    except ImportError as error:
        raise Misconfigured(f"MCP servers need 'waypost[mcp]': {error}") from error
    sets = _chosen(reviewing.servers_of(module), server)
    different = accepted = 0
    shown: list[dict[str, Any]] = []
    for tools in sets:
        findings = await reviewing.review(tools)
        different += sum(finding.status != "same" for finding in findings)
        if json:
            shown += [_as_json(tools, finding) for finding in findings]
        else:
            _show(tools, findings)
        if accept:
            _check_named(tools, findings, tool)
            accepted += reviewing.accept(tools, findings, frozenset(tool or ()))
            note(f"{tools.name}: pins are in {reviewing.pins_at(tools)}")
    if json:
        print_json(shown)
    if different > accepted:
        hint = "" if accept else "; accept it with --accept if it is right"
        raise Exit(FAILED, f"{different - accepted} tools differ from their pins{hint}")


def _chosen(sets: Sequence[McpToolSet], names: list[str] | None) -> list[McpToolSet]:
    known = {tools.name: tools for tools in sets}
    for name in names or ():
        if name not in known:
            raise BadInput(f"no MCP server {name!r} in the module; there is {', '.join(known)}")
    return [tools for tools in sets if not names or tools.name in names]


def _check_named(tools: McpToolSet, findings: Sequence[Finding], names: list[str] | None) -> None:
    known = [finding.name for finding in findings]
    for name in names or ():
        if name not in known:
            raise BadInput(f"{tools.name}: no tool {name!r}; there is {', '.join(known) or 'none'}")


def _show(tools: McpToolSet, findings: Sequence[Finding]) -> None:
    say(f"{tools.name} ({tools.connection.server.shown}): {len(findings)} tools")
    for finding in findings:
        say(f"{MARKS[finding.status]} {_clean(finding.name)}" + ("" if finding.status == "same" else f"  ({finding.status})"))
        for line in finding.lines():
            say(f"    {_clean(line)}")


def _clean(text: str) -> str:
    """Without what could move a terminal's cursor or hide text: the words are the server's."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def _as_json(tools: McpToolSet, finding: Finding) -> dict[str, Any]:
    return {
        "server": tools.name,
        "tool": finding.name,
        "status": finding.status,
        "pinned": finding.pinned.digest if finding.pinned is not None else None,
        "offered": finding.offered,
        "offered_digest": finding.offered.digest if finding.offered is not None else None,
    }
