"""Which MCP server, and how it is reached: as a process on this machine, or over HTTP. Plain values; nothing is started here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from waypost.http.egress import Egress
from waypost.http.hosts import read_url
from waypost.http.request import HEADER_NAME, RESERVED_HEADERS
from waypost.http.secrets import Secret
from waypost_proto.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class McpProcess:
    """A server that speaks over its standard input and output, started by the gateway.

    It gets `env` (secrets by name) and of the gateway's environment only HOME, LANG, LOGNAME, PATH, SHELL, TERM, TMPDIR, TZ and USER.
    """

    command: str
    args: Sequence[str] = ()
    env: Mapping[str, str | Secret] = field(default_factory=dict)
    cwd: Path | str | None = None

    def __post_init__(self) -> None:
        if not self.command or isinstance(self.args, str):
            raise BadInput(f"McpProcess(command={self.command!r}, args={self.args!r}): give a program, and its arguments as a list")

    @property
    def shown(self) -> str:
        """For messages: the program without its arguments, which may hold secrets."""
        return f"MCP server {Path(self.command).name!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class McpHttp:
    """A server over streamable HTTP. Its connections pass the same guard as HTTP tools."""

    url: str
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    egress: Egress = field(default_factory=Egress)

    def __post_init__(self) -> None:
        read_url(self.url)
        for name in self.headers:
            if not HEADER_NAME.match(name) or name.lower() in RESERVED_HEADERS:
                raise BadInput(f"McpHttp({self.url!r}): header {name!r} cannot be set")

    @property
    def shown(self) -> str:
        """For messages: without the path, which may hold secrets."""
        return f"MCP server {read_url(self.url).base}"


McpServer = McpProcess | McpHttp
