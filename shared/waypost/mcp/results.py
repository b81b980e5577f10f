"""From what a server answers to a tool's result, or the error that it amounts to. Pure."""

from __future__ import annotations

from typing import Any

import mcp_types
import msgspec
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, METHOD_NOT_FOUND, REQUEST_TIMEOUT

from waypost.http.errors import EgressRefused, NoAnswer, ResultUnusable
from waypost.mcp.errors import McpFailed, McpNotConnected, McpRefused
from waypost.mcp.http_transport import NOT_ALLOWED, NOT_SENT
from waypost_proto.codec import nesting_of
from waypost_proto.limits import MAX_NESTING

MAX_TOLD_CHARS = 1_500
"""Of what a tool says about its failure: a model reads it to do better."""
SESSION_GONE = "Session terminated"
"""The SDK's word for 404 on a session: the server knows nothing of it (2025-11-25, transports, "Session Management")."""


def result_of(result: object, *, max_bytes: int) -> Any:
    """Structured content if there is some; the text if there is only one; else all content blocks, as `{"content": […]}`.

    Raises `ToolSaysNo` for a tool that failed, `McpFailed` for one that wants input from a person, `ResultUnusable`.
    """
    if not isinstance(result, mcp_types.CallToolResult):
        raise McpFailed("the tool asks for input from a person or a model before it goes on, which is not supported")
    if result.is_error:
        raise ToolSaysNo(_told("\n".join(_texts(result))) or "the tool failed and does not say why")
    value = _value(result)
    try:
        body = msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ResultUnusable(f"the result is not JSON: {error}") from error
    if len(body) > max_bytes or nesting_of(body) > MAX_NESTING:
        raise ResultUnusable(
            f"the result has {len(body)} bytes; at most {max_bytes}, nested at most {MAX_NESTING} deep. Raise max_bytes, or ask for less"
        )
    return value


class ToolSaysNo(Exception):
    """A result with `isError`: what that means depends on the tool's effect."""


def _value(result: mcp_types.CallToolResult) -> Any:
    if result.structured_content is not None:
        return result.structured_content
    if not result.content:
        return None
    if len(result.content) == 1 and isinstance(result.content[0], mcp_types.TextContent):
        return result.content[0].text
    return {"content": [block.model_dump(mode="json", by_alias=True, exclude_none=True) for block in result.content]}


def _texts(result: mcp_types.CallToolResult) -> list[str]:
    return [block.text for block in result.content if isinstance(block, mcp_types.TextContent)]


def error_of(error: MCPError, what: str, *, may_repeat: bool) -> Exception:
    """What a JSON-RPC error amounts to.

    Only an unknown method proves that nothing happened: servers answer "invalid params" also for results of theirs that do not fit.
    """
    told = f"{what}: {_told(error.message)} ({error.code})"
    if error.code == NOT_ALLOWED:
        return EgressRefused(_told(error.message))
    if error.code == NOT_SENT or (error.message == SESSION_GONE):
        return McpNotConnected(f"{told}; nothing was done")
    if error.code == METHOD_NOT_FOUND:
        return McpRefused(told)
    if error.code in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
        return NoAnswer(told)
    if error.code == mcp_types.INVALID_PARAMS and may_repeat:
        return McpRefused(told)
    return McpFailed(told)


def _told(text: str) -> str:
    shown = "".join(char if char.isprintable() or char == "\n" else " " for char in text[: 2 * MAX_TOLD_CHARS]).strip()
    return shown if len(shown) <= MAX_TOLD_CHARS else f"{shown[:MAX_TOLD_CHARS]}…"
