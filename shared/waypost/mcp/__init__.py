"""MCP servers as tools, pinned and reviewed. Needs `waypost[mcp]`.

from waypost.mcp import McpHttp, McpProcess, mcp_tools
"""

from waypost.mcp.errors import McpFailed, McpNotConnected, McpRefused, McpToolChanged
from waypost.mcp.pins import PinnedTool
from waypost.mcp.servers import McpHttp, McpProcess
from waypost.mcp.tools import McpToolSet, mcp_tools

__all__ = [
    "McpFailed",
    "McpHttp",
    "McpNotConnected",
    "McpProcess",
    "McpRefused",
    "McpToolChanged",
    "McpToolSet",
    "PinnedTool",
    "mcp_tools",
]
