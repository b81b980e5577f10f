"""What somebody who watches a graph has been shown: what may become void, what is final, what was void."""

from __future__ import annotations

from typing import Any

from msgspec import json

from waypost.streamed import Streamed


class Watched:
    """Folds the items of `Client.stream` by `voids` and `settles`, as `docs/langgraph.md` says."""

    def __init__(self) -> None:
        self.items: list[Streamed] = []
        self.pending: list[Streamed] = []
        self.final: list[Streamed] = []
        self.void: list[Streamed] = []

    def take(self, item: Streamed) -> None:
        self.items.append(item)
        match item.kind:
            case "graph":
                (self.final if item.final else self.pending).append(item)
            case "graph_restarted":
                self.void += [shown for shown in self.pending if item.voids(shown)]
                self.pending = [shown for shown in self.pending if not item.voids(shown)]
            case "graph_saved":
                self.final += [shown for shown in self.pending if item.settles(shown)]
                self.pending = [shown for shown in self.pending if not item.settles(shown)]
            case "ended" if item.text == "completed":
                self.final += self.pending
                self.pending = []
            case _:
                pass

    def told(self, mode: str, items: list[Streamed] | None = None) -> list[Any]:
        """What was shown in a mode, as values; of what is final, or of `items`."""
        chosen = [shown for shown in (self.final if items is None else items) if shown.mode == mode]
        return [json.decode(shown.data) if shown.data is not None else shown.omitted for shown in chosen]
