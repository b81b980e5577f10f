"""`waypost runs watch --tokens`: what models and graphs write for a run, on a terminal, in a file or as JSON."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import TYPE_CHECKING

from waypost_cli.exits import FAILED
from waypost_cli.output import clean, print_json_line

if TYPE_CHECKING:
    from waypost.client import Client
    from waypost.streamed import Streamed


async def show_tokens(client: Client, run_id: str, *, as_json: bool) -> int:
    """Show everything until the run has ended; the exit code."""
    outcome = ""
    writer = TokenWriter()
    async with aclosing(client.stream(run_id)) as items:
        async for item in items:
            if as_json:
                print_json_line(item)
            else:
                sys.stdout.write(writer.text_of(item))
                sys.stdout.flush()
            if item.kind == "ended":
                outcome = item.text
    return 0 if outcome == "completed" else FAILED


class TokenWriter:
    """Items as text. What was shown in pieces is not shown again when it is answered, unless it came with gaps or out of turn."""

    def __init__(self) -> None:
        self._shown: dict[str, list[str]] = {}
        self._torn: set[str] = set()
        self._last = ""
        self._preview = 0
        """Things that a graph has shown and that are not final yet."""

    def text_of(self, item: Streamed) -> str:
        """What to write for this item; "" for nothing."""
        call = item.call_id
        match item.kind:
            case "started" | "restarted":
                self._shown[call] = []
                self._torn.discard(call)
                again = " again, what was shown of it is void" if item.kind == "restarted" else ""
                return self._line(call, f"{item.model or 'a model'}{again}")
            case "text" | "tool_use":
                return self._piece(item)
            case "graph_started" | "graph_restarted" | "graph" | "graph_saved":
                return self._graph(item)
            case "gap":
                self._torn.add(call)
                return self._line(call, "(something is missing here)")
            case "answered":
                return self._answer(item)
            case "broken" | "failed":
                error = f"{item.error.type}: {item.error.message}" if item.error is not None else ""
                return self._line(call, f"{item.kind}: {error}")
            case _:
                self._last = ""
                return f"\n— run {item.text}\n"

    def _piece(self, item: Streamed) -> str:
        shown = self._shown.setdefault(item.call_id, [])
        text = item.text
        if item.kind == "text":
            shown.append(text)
        head = ""
        part = f"{item.call_id} {item.tool} {item.index}" if item.kind == "tool_use" else item.call_id
        if self._last != part:
            head = self._line(item.call_id, f"calls {item.tool}") if item.kind == "tool_use" else self._line(item.call_id, "")
            self._last = part
        return head + clean(text)

    def _answer(self, item: Streamed) -> str:
        shown = "".join(self._shown.pop(item.call_id, []))
        torn = item.call_id in self._torn
        self._torn.discard(item.call_id)
        if shown == item.text and not torn:
            return self._line(item.call_id, "recorded")
        return self._line(item.call_id, f"recorded, by {item.model}") + (clean(item.text) + "\n" if item.text else "")

    def _graph(self, item: Streamed) -> str:
        place = " / ".join(part.partition(":")[0] for part in item.namespace)
        match item.kind:
            case "graph":
                self._preview += not item.final
                text = bytes(item.data).decode() if item.data is not None else f"left out: {item.omitted}"
                return self._line("", f"{place} {item.mode}".strip()) + clean(text) + "\n"
            case "graph_saved":  # told once for what was shown before it
                shown, self._preview = self._preview, 0 if not item.namespace else self._preview
                return self._line("", "recorded") if shown and not item.namespace else ""
            case _:
                void, self._preview = self._preview, 0
                again = " goes on from its last checkpoint" + (", what was shown since is void" if void else "")
                return self._line("", f"{item.agent or 'the graph'}{again if item.kind == 'graph_restarted' else ''}")

    def _line(self, call: str, words: str) -> str:
        if not words and self._last == call:
            return ""
        self._last = call
        head = f"{call} {clean(words)}".strip()
        return f"\n— {head}".rstrip() + "\n"
