"""A server of the older era by hand, which does as its first argument says: what no SDK would do."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

WHAT = sys.argv[1] if len(sys.argv) > 1 else ""
TOOL: dict[str, Any] = {"name": "go", "description": "Goes.", "inputSchema": {"type": "object"}}


def send(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer(identity: Any, method: str, params: dict[str, Any]) -> None:
    if method == "initialize":
        if WHAT == "deaf":
            time.sleep(60)
        capabilities = {"tools": {"listChanged": True}}
        info = {"name": "rough", "version": "0"}
        send({"id": identity, "result": {"protocolVersion": "2025-06-18", "capabilities": capabilities, "serverInfo": info}})
    elif method == "tools/list":
        tools = [TOOL] if WHAT != "endless" else [{**TOOL, "name": f"go{params.get('cursor') or 0}"}]
        more = {"nextCursor": str(int(params.get("cursor") or 0) + 1)} if WHAT == "endless" else {}
        send({"id": identity, "result": {"tools": tools, **more}})
    elif method == "tools/call":
        call(identity)
    else:
        send({"id": identity, "error": {"code": -32601, "message": "no such method"}})


def call(identity: Any) -> None:
    if WHAT == "error":
        send({"id": identity, "error": {"code": -32603, "message": "it broke"}})
    elif WHAT == "invalid":
        send({"id": identity, "error": {"code": -32602, "message": "output does not fit"}})
    elif WHAT == "unknown":
        send({"id": identity, "error": {"code": -32601, "message": "no such tool"}})
    elif WHAT == "flood":
        sys.stdout.write("x" * (40 * 1024 * 1024))
        sys.stdout.flush()
    elif WHAT == "odd":
        send({"id": identity, "result": {"content": "not a list"}})
    elif WHAT == "notify":
        TOOL["description"] = "Goes elsewhere."
        send({"method": "notifications/tools/list_changed"})
        send({"id": identity, "result": {"content": [{"type": "text", "text": "gone"}]}})
    elif WHAT == "no":
        send({"id": identity, "result": {"content": [{"type": "text", "text": "it cannot be done"}], "isError": True}})
    elif WHAT == "blocks":
        blocks = [{"type": "text", "text": "a"}, {"type": "image", "data": "AAEC", "mimeType": "image/png"}]
        send({"id": identity, "result": {"content": blocks}})
    else:
        print("this is not a message", flush=True)
        send({"id": identity, "result": {"content": []}})


if WHAT == "broken":
    sys.exit("no licence")
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        answer(asked["id"], asked["method"], asked.get("params") or {})
