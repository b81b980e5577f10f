"""A server as a process: newline-delimited JSON-RPC over its standard input and output, every line bounded.

The SDK has such a transport; it reads lines of any length and passes standard error on to ours. Here a line past the limit ends the
connection, and what the server writes to standard error is a DEBUG log. Stopping follows the specification (2025-11-25, lifecycle,
"Shutdown"): close its input, then SIGTERM, then SIGKILL, for the whole process group.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from waypost.mcp.servers import McpProcess
from waypost_proto.limits import MAX_PAYLOAD_BYTES

MAX_LINE_BYTES = MAX_PAYLOAD_BYTES + 64 * 1024
"""One message: a result at the limit, and what is around it."""
GRACE_SECONDS = 2.0
"""For each step of stopping."""
MAX_LOGGED_CHARS = 500
INHERITED = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER")

_log = structlog.get_logger(__name__)

Incoming = MemoryObjectReceiveStream[SessionMessage | Exception]
Outgoing = MemoryObjectSendStream[SessionMessage]


@contextlib.asynccontextmanager
async def process_transport(server: McpProcess, env: Mapping[str, str], ended: asyncio.Event) -> AsyncIterator[tuple[Incoming, Outgoing]]:
    """The streams that the SDK's client wants; `ended` is set when nothing comes any more.

    Raises `OSError` when the program cannot be started. Leaving stops the process.
    """
    process = await asyncio.create_subprocess_exec(
        server.command,
        *server.args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**{name: os.environ[name] for name in INHERITED if name in os.environ}, **env},
        cwd=server.cwd,
        limit=MAX_LINE_BYTES,
        start_new_session=True,
    )
    to_session, incoming = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outgoing, from_session = anyio.create_memory_object_stream[SessionMessage](0)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read, process, to_session, ended)
            tasks.start_soon(_write, process, from_session, to_session)
            tasks.start_soon(_log_errors, process, server)
            try:
                yield incoming, outgoing
            finally:
                with anyio.CancelScope(shield=True):
                    await _stop(process)
                tasks.cancel_scope.cancel()
    finally:
        for stream in (to_session, incoming, outgoing, from_session):
            stream.close()


async def _read(
    process: asyncio.subprocess.Process, to_session: MemoryObjectSendStream[SessionMessage | Exception], ended: asyncio.Event
) -> None:
    """Until the process closes its output or breaks the rules; then the session sees the connection end."""
    try:
        async with to_session:
            while (line := await _line(process)) != b"":
                message = _message(line)
                if message is not None:
                    await to_session.send(message)
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        return  # the session is gone
    finally:
        ended.set()


async def _line(process: asyncio.subprocess.Process) -> bytes:
    """The next line, b"" at the end and after one past the limit."""
    assert process.stdout is not None
    try:
        return await process.stdout.readline()
    except ValueError:
        _log.warning("an MCP server wrote a message past the limit", limit_bytes=MAX_LINE_BYTES)
        return b""


def _message(line: bytes) -> SessionMessage | None:
    """None for what is no message. What it was is not shown: servers that print to standard output print anything."""
    if not line.strip():
        return None
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        _log.warning("an MCP server wrote a line that is no message", size=len(line))
        return None


async def _write(
    process: asyncio.subprocess.Process,
    from_session: MemoryObjectReceiveStream[SessionMessage],
    to_session: MemoryObjectSendStream[SessionMessage | Exception],
) -> None:
    assert process.stdin is not None
    async with from_session:
        async for message in from_session:
            try:
                process.stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await process.stdin.drain()
            except (ConnectionError, RuntimeError):
                to_session.close()  # the session must see the end instead of waiting for an answer
                return


async def _log_errors(process: asyncio.subprocess.Process, server: McpProcess) -> None:
    assert process.stderr is not None
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:
            continue
        if not line:
            return
        _log.debug(
            "an MCP server wrote to its standard error", server=server.shown, line=line[:MAX_LOGGED_CHARS].decode("utf-8", "replace")
        )


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Idempotent and bounded."""
    if process.stdin is not None:
        process.stdin.close()
    for step in (None, signal.SIGTERM, signal.SIGKILL):
        if step is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, step)
        try:
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        except TimeoutError:
            continue
        break
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # what it left behind
