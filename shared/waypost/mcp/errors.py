"""How calls of MCP tools end without a result, beside those of `waypost.http.errors`. The class is what an agent sees.

NotExecuted
├── McpNotConnected   the server cannot be reached or does not start: the call was not sent
└── DoNotRetry
    ├── McpToolChanged    the server's tool is not the one that was reviewed: the call was not sent
    └── McpRefused        the server refused, or its tool failed and may be repeated
McpFailed             the tool failed, or the server did: for an unsafe tool the call is in doubt
NoAnswer              the call was sent and no answer came
ResultUnusable        the answer cannot be the result
"""

from __future__ import annotations

from waypost.errors import DoNotRetry, NotExecuted
from waypost_proto.errors import TransientError


class McpNotConnected(NotExecuted):
    """The server cannot be reached: nothing was sent."""


class McpToolChanged(DoNotRetry):
    """The server offers another tool than the one that was reviewed: nothing was sent."""


class McpRefused(DoNotRetry):
    """The server refused the call for good, or its tool failed without an effect that could not be repeated."""


class McpFailed(TransientError):
    """The tool or its server failed, and nothing says whether anything took effect."""


__all__ = ["McpFailed", "McpNotConnected", "McpRefused", "McpToolChanged"]
