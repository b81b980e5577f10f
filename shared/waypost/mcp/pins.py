"""Which tools of a server were reviewed, exactly as they were then. A file beside the code, reviewed and committed like code.

What an MCP server says of its tools ends up in front of a model, and the server may say something else tomorrow. So agents and the gateway
go by the pinned text alone, and a call goes out only while the server still offers exactly what was pinned. Pure but for reading the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.ids import digest_of

FORMAT = 1
MAX_FILE_BYTES = 16 * 1024 * 1024


class PinnedTool(Struct, frozen=True, kw_only=True):
    """One tool as its server described it."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None = None
    annotations: dict[str, Any] = {}

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical JSON of all of it."""
        return digest_of(msgspec.json.encode(self, order="deterministic"))


class _Entry(Struct, frozen=True, kw_only=True):
    digest: str
    tool: PinnedTool


class _File(Struct, frozen=True, kw_only=True):
    waypost_mcp_pins: int
    tools: list[_Entry]


def changes(pinned: PinnedTool, offered: PinnedTool | None) -> list[str]:
    """What is different now; empty if nothing is."""
    if offered is None:
        return ["the server does not offer it any more"]
    return [
        f"its {field.replace('_', ' ')} has changed"
        for field in PinnedTool.__struct_fields__
        if _canonical(getattr(pinned, field)) != _canonical(getattr(offered, field))
    ]


def _canonical(value: object) -> bytes:
    return msgspec.json.encode(value, order="deterministic")


def read_pins(path: Path) -> dict[str, PinnedTool] | None:
    """The pinned tools by name, None if there is no file. Raises `Misconfigured` for one that cannot be read or was altered by hand."""
    try:
        with path.open("rb") as file:
            body = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Misconfigured(f"the pins {str(path)!r} cannot be read: {error.strerror or error}") from error
    try:
        found = msgspec.json.decode(body, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Misconfigured(f"{str(path)!r} is no file of pins: {error}; make it anew with 'waypost mcp review'") from error
    if found.waypost_mcp_pins != FORMAT or len(body) > MAX_FILE_BYTES:
        raise Misconfigured(f"{str(path)!r} has format {found.waypost_mcp_pins}, this version reads {FORMAT}")
    for entry in found.tools:
        if entry.tool.digest != entry.digest:
            raise Misconfigured(f"{str(path)!r}: tool {entry.tool.name!r} is not what was accepted; look at it with 'waypost mcp review'")
    return {entry.tool.name: entry.tool for entry in found.tools}


def pins_of(values: Iterable[PinnedTool] | Mapping[str, PinnedTool]) -> dict[str, PinnedTool]:
    """Pins that a test gives as values. Raises `BadInput` for two of one name."""
    tools = list(values.values()) if isinstance(values, Mapping) else list(values)
    named = {tool.name: tool for tool in tools}
    if len(named) != len(tools):
        raise BadInput("two pinned tools have the same name")
    return named


def write_pins(path: Path, tools: Iterable[PinnedTool]) -> None:
    """Write the file whole, in an order and a layout that make its changes easy to read. Raises `OSError`."""
    entries = [_Entry(digest=tool.digest, tool=tool) for tool in sorted(tools, key=lambda tool: tool.name)]
    body = msgspec.json.format(msgspec.json.encode(_File(waypost_mcp_pins=FORMAT, tools=entries), order="deterministic"), indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(body + b"\n")
    fresh.replace(path)
