"""The world outside, as a process of its own that no fault strikes: it counts effects by key, and is as unreliable as providers are.

    python -m tests.chaos.storm.provider SOCKET FILE SEED

One request in JSON on each connection, one answer or none. How it misbehaves follows from the seed, the key and how often that key was
asked for, so that a seed means the same provider whatever else happens. Every effect is a line in FILE.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

ODD_SHARE = 0.25
ODD_TIMES = 2
"""How often a key may meet trouble of the provider's own before all goes well: bad luck uses up no number of attempts."""
LANDING_SECONDS = 0.8
"""A request may be under way for so long after its sender was cut off. Shorter than the gateways' settle time."""
HANG_SECONDS = 60.0
WAYS = {
    "read": ("slow", "hang", "cut before"),
    "post": ("slow", "cut before", "cut after", "hang after"),
    "pay": ("slow", "refused", "cut before", "cut after", "hang", "hang after", "lands late"),
    "find": ("slow", "cut before"),
}


class Effect(TypedDict):
    """What took effect: when (Unix seconds), under which key, at the wish of which run."""

    at: float
    op: str
    key: str
    run: str


class Provider:
    """Answers requests; owns the effects."""

    def __init__(self, file: Path, seed: str) -> None:
        self._file = file.open("a", encoding="utf-8", buffering=1)
        self._seed = seed
        self._asked: Counter[tuple[str, str]] = Counter()
        self._voided: dict[str, int] = {}
        self.receipts: dict[str, str] = {}
        self.refused_late = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            line = await reader.readline()
            if line:
                answer = await self._answer(json.loads(line), reader)
                if answer is not None:
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()
        except OSError:
            pass  # who asked has gone
        finally:
            writer.close()

    async def _answer(self, request: dict[str, Any], reader: asyncio.StreamReader) -> dict[str, Any] | None:
        op, key = request["op"], request["key"]
        if op == "void":  # a person settles a doubt: attempts up to this one never take effect from now on
            self._voided[key] = max(self._voided.get(key, 0), request["attempt"])
            return {"receipt": self.receipts.get(key)}
        way = self._way(op, key)
        if way == "slow":
            await asyncio.sleep(0.1 + self._luck(op, key, "slow"))
        elif way == "hang":
            await _gone(reader)
            return None
        elif way == "cut before":
            return None
        match op:
            case "read":
                return {"value": request["value"] * 7}
            case "find":
                return {"receipt": self.receipts.get(key)}
            case _:
                return await self._effect(way, request, reader)

    async def _effect(self, way: str, request: dict[str, Any], reader: asyncio.StreamReader) -> dict[str, Any] | None:
        if way == "refused":
            return {"refused": "busy"}
        if way == "lands late":
            asyncio.get_running_loop().call_later(LANDING_SECONDS * self._luck("late", request["key"], ""), self._land, request)
            return None
        answer = self._land(request)
        if way == "hang after":
            await _gone(reader)
        return None if way in ("cut after", "hang after") else answer

    def _land(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Take effect now, unless the request is too old: the one thing that Waypost asks of a provider (docs/tools.md)."""
        op, key = request["op"], request["key"]
        if time.time() > request["deadline"] or request["attempt"] <= self._voided.get(key, 0):
            self.refused_late += 1
            return None
        if op == "post" and key in self.receipts:
            return {"receipt": self.receipts[key]}
        receipt = f"{op} {request['value']}"
        self.receipts[key] = receipt
        self._file.write(json.dumps(Effect(at=time.time(), op=op, key=key, run=request["run"])) + "\n")
        return {"receipt": receipt}

    def _way(self, op: str, key: str) -> str:
        self._asked[op, key] += 1
        count = self._asked[op, key]
        if count > ODD_TIMES or self._luck(op, key, f"odd{count}") >= ODD_SHARE:
            return ""
        ways = WAYS[op]
        return ways[int(self._luck(op, key, f"way{count}") * len(ways))]

    def _luck(self, *what: str) -> float:
        digest = hashlib.sha256("/".join((self._seed, *what)).encode()).digest()
        return int.from_bytes(digest[:6], "big") / (1 << 48)


async def _gone(reader: asyncio.StreamReader) -> None:
    """Until the other side hangs up, or much longer than anybody waits."""
    try:
        await asyncio.wait_for(reader.read(1), HANG_SECONDS)
    except TimeoutError:
        return


async def ask(socket: str, request: dict[str, Any]) -> dict[str, Any]:
    """One request. Raises `ConnectionError` when the connection ends without an answer."""
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        writer.write(json.dumps(request).encode() + b"\n")
        line = await reader.readline()
    finally:
        writer.close()
    if not line:
        raise ConnectionError(f"the provider hung up on {request['op']}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def effects_in(file: Path) -> list[Effect]:
    """Everything that took effect, in order."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


async def _main(socket: str, file: str, seed: str) -> None:
    provider = Provider(Path(file), seed)
    server = await asyncio.start_unix_server(provider.serve, socket, backlog=1_000)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
