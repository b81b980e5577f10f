"""`mcp_tools`: the reviewed tools of an MCP server as tools."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, Unpack

from waypost.http.secrets import Secret
from waypost.mcp.action import ErrorMeans, McpAction
from waypost.mcp.connection import McpConnection
from waypost.mcp.pins import PinnedTool, pins_of, read_pins
from waypost.mcp.servers import McpProcess, McpServer
from waypost.openapi.naming import tool_name
from waypost.options import Seconds, seconds_of
from waypost.outside_policy import DEFAULT_MAX_BYTES, PolicyOptions, effect_of, policy_of, policy_options
from waypost.outside_tools import OutsideTool, SchemaArguments, Shape, ToolSet
from waypost.schemas import Schema
from waypost.tools import EffectName
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.ids import check_name
from waypost_proto.values import Effect

CONNECT_SECONDS = 30.0
RECHECK_SECONDS = 300.0
_reviewing: ContextVar[bool] = ContextVar("waypost_mcp_reviewing", default=False)


class McpOptions(PolicyOptions, total=False):
    """What `mcp_tools` takes besides name, server and pins; all optional. Tools are named as the server names them."""

    include: Sequence[str]
    """Of the pinned tools; all of them without it."""
    exclude: Sequence[str]
    effects: Mapping[str, EffectName | Effect]
    trust_annotations: bool
    """Take `readOnlyHint` and `idempotentHint` for the effect where `effects` does not say. Off: what a server says of itself is not
    trusted, and its tools are unsafe."""
    names: Mapping[str, str]
    prefix: str
    error_means: ErrorMeans
    reconcile: Mapping[str, Callable[..., Any]]
    connect_timeout: Seconds
    recheck: Seconds
    """How old a listing may be when a call goes out."""
    protocol: Literal["auto", "legacy", "2026-07-28"]
    """`auto` asks the server; `legacy` is the handshake with a session (until 2025-11-25)."""


_KNOWN = frozenset(McpOptions.__annotations__)


class McpToolSet(ToolSet):
    """The tools of one server."""

    def __init__(self, tools: Iterable[OutsideTool], *, module: str, name: str, connection: McpConnection, pins: Path | None) -> None:
        super().__init__(tools, module=module)
        self.name = name
        self.connection = connection
        self.pins = pins

    def __getitem__(self, name: str) -> OutsideTool:
        if name not in self._tools and _reviewing.get():  # a module must be importable before its tools were reviewed
            return _placeholder(name, self)
        return super().__getitem__(name)


@contextmanager
def reviewing() -> Iterator[None]:
    """While a module is imported to review its servers: pins that are not there are no error."""
    token = _reviewing.set(True)
    try:
        yield
    finally:
        _reviewing.reset(token)


def mcp_tools(name: str, server: McpServer, *, pins: str | Path | Iterable[PinnedTool], **options: Unpack[McpOptions]) -> McpToolSet:
    """The tools of an MCP server that `pins` has: a file that `waypost mcp review MODULE --accept` writes, relative to the module.

        github = mcp_tools("github", McpProcess(command="github-mcp-server"), pins="github.mcp.json", effects={"get_issue": "read"})

    Nothing is started before the first call. Raises `Misconfigured` without pins, `BadInput` or `TypeError` for what cannot be.
    """
    unknown = sorted(set(options) - _KNOWN)
    if unknown:
        raise TypeError(f"mcp_tools has no option {unknown[0]!r}; there is {', '.join(sorted(_KNOWN))}")
    check_name("MCP server", name)
    caller = sys._getframe(1).f_globals
    module = str(caller.get("__name__", ""))
    path, pinned = _pinned(name, pins, caller)
    protocol = options.get("protocol", "auto")
    if protocol not in ("auto", "legacy", "2026-07-28"):
        raise BadInput(f"MCP server {name!r}: protocol={protocol!r}: use 'auto', 'legacy' or '2026-07-28'")
    connect_seconds = seconds_of("connect_timeout", options.get("connect_timeout", CONNECT_SECONDS))
    connection = McpConnection(server, protocol=protocol, connect_seconds=connect_seconds)
    chosen = _selected(name, pinned, options)
    tools: dict[str, OutsideTool] = {}
    for pin in chosen:
        made = _tool(pin, connection, name, options, module)
        if made.name in tools:
            raise BadInput(f"MCP server {name!r}: two tools are named {made.name!r}: give names={{{pin.name!r}: '…'}}")
        tools[made.name] = made
    return McpToolSet(tools.values(), module=module, name=name, connection=connection, pins=path)


def _pinned(name: str, pins: str | Path | Iterable[PinnedTool], caller: Mapping[str, Any]) -> tuple[Path | None, dict[str, PinnedTool]]:
    if not isinstance(pins, str | Path):
        return None, pins_of(pins)
    path = Path(pins)
    file = caller.get("__file__")
    if not path.is_absolute() and file:
        path = Path(str(file)).resolve().parent / path
    found = read_pins(path) if not _reviewing.get() or path.exists() else None
    if found is None and not _reviewing.get():
        raise Misconfigured(
            f"MCP server {name!r}: there are no pins at {str(path)!r}. See what the server offers with 'waypost mcp review MODULE', "
            "and accept it with --accept"
        )
    return path, found or {}


def _selected(name: str, pinned: Mapping[str, PinnedTool], options: McpOptions) -> list[PinnedTool]:
    include, exclude = options.get("include"), options.get("exclude", ())
    keyed: list[tuple[str, Any]] = [("include", include or ()), ("exclude", exclude)]
    keyed += [(key, options.get(key) or ()) for key in ("effects", "names", "reconcile")]
    for key, named in keyed:
        if isinstance(named, str):
            raise BadInput(f"MCP server {name!r}: {key}={named!r}: give a list of tools")
        missing = [tool for tool in named if tool not in pinned]
        if missing and not _reviewing.get():
            raise BadInput(f"MCP server {name!r}: {key}= names {missing[0]!r}, which is not pinned; there is {', '.join(pinned) or 'none'}")
    return [pin for pin in pinned.values() if (include is None or pin.name in include) and pin.name not in exclude]


def _tool(pin: PinnedTool, connection: McpConnection, server: str, options: McpOptions, module: str) -> OutsideTool:
    name = options.get("names", {}).get(pin.name) or tool_name(pin.name, options.get("prefix", f"{server}-"))
    what = f"tool {name!r} ({pin.name})"
    effect = _effect(what, pin, options)
    arguments = Schema(f"{what}: inputSchema", pin.input_schema)
    arguments.check()
    secrets = [value.name for value in _values_of(connection.server) if isinstance(value, Secret)]
    hook = options.get("reconcile", {}).get(pin.name)
    policy = policy_of(what, effect, policy_options(options), reconcile=hook, secrets=secrets)
    action = McpAction(
        connection=connection,
        pin=pin,
        effect=effect,
        seconds=policy.timeout_seconds,
        max_bytes=options.get("max_bytes", DEFAULT_MAX_BYTES),
        recheck_seconds=seconds_of("recheck", options.get("recheck", RECHECK_SECONDS)),
        error_means=options.get("error_means") or ("unknown" if effect is Effect.UNSAFE else "failed"),
    )
    shape = Shape(
        description=" ".join((pin.description or pin.title).split())[:2_000],
        arguments=SchemaArguments(arguments),
        result_schema=Schema(f"{what}: outputSchema", pin.output_schema) if pin.output_schema is not None else None,
    )
    return OutsideTool(check_name("tool", name), policy, action, shape, module=module)


def _values_of(server: McpServer) -> Iterable[str | Secret]:
    return server.env.values() if isinstance(server, McpProcess) else server.headers.values()


def _effect(what: str, pin: PinnedTool, options: McpOptions) -> Effect:
    given = options.get("effects", {}).get(pin.name)
    if given is not None:
        return effect_of(what, given)
    if options.get("trust_annotations"):
        if pin.annotations.get("readOnlyHint") is True:
            return Effect.READ
        if pin.annotations.get("idempotentHint") is True:
            return Effect.IDEMPOTENT
    return Effect.UNSAFE


def _placeholder(name: str, tools: McpToolSet) -> OutsideTool:
    pin = PinnedTool(name=name, input_schema={"type": "object"})
    return _tool(pin, tools.connection, tools.name, {"names": {name: name}}, tools.module)
