"""LangGraph's streaming modes on `waypost.stream.<run_id>`: what a graph shows while it runs, for people who watch. Owns no connection.

All of it is a preview (see `waypost_proto.streams`). Each part names the checkpoint before it, so that who reads can tell what has become
final and what a restart makes void.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Literal, get_args

import msgspec
from langgraph.types import Send
from msgspec import Raw
from pydantic_core import to_jsonable_python

from waypost.execution.effects import failure_of, text_of
from waypost.execution.ports import GraphShown
from waypost.langgraph.thread import Namespace
from waypost_proto.codec import encode, nesting_of
from waypost_proto.limits import MAX_GRAPH_PART_BYTES, MAX_NESTING
from waypost_proto.streams import GraphPart

Mode = Literal["messages", "updates", "values", "custom", "tasks", "checkpoints", "debug"]
MODES: tuple[str, ...] = get_args(Mode)
_MESSAGES = "messages"
_ROOM = 4
"""Levels of JSON around a part's data."""
_MAX_KEPT = 64
"""Graphs within the graph whose checkpoints a restart names; what the others have shown since the root's counts as void."""
_REASON_CHARS = 300


def modes_of(agent: str, stream: bool | str | Collection[str]) -> tuple[bool, tuple[str, ...]]:
    """`LangGraphAgent(stream=…)`: whether models stream, and the modes that the graph shows. Raises `ValueError`."""
    if isinstance(stream, bool):
        return stream, ()
    wanted = (stream,) if isinstance(stream, str) else tuple(dict.fromkeys(stream))
    unknown = [mode for mode in wanted if mode not in MODES]
    if unknown:
        raise ValueError(f"agent {agent!r}: stream={stream!r}: {unknown[0]!r} is no streaming mode; use {', '.join(MODES)}, or True")
    return _MESSAGES in wanted, tuple(mode for mode in wanted if mode != _MESSAGES)


class GraphShow:
    """What one run's graph shows in `modes`, by way of `port`. `namespaces` are the graphs whose checkpoints are kept."""

    def __init__(self, modes: Iterable[str], opened: Callable[[], GraphShown] | None, namespaces: Mapping[str, Namespace]) -> None:
        self._shown = frozenset(modes)
        self._port = opened() if opened is not None and self._shown else None
        self._namespaces = namespaces
        self._at: dict[str, str] = {}

    @property
    def modes(self) -> list[Any]:
        """What the graph has to be asked for beside what its run needs. `checkpoints` come in order with the rest: they say where it is."""
        return sorted(self._shown | {"checkpoints"}) if self._port is not None else []

    def begin(self) -> None:
        """The graph is invoked."""
        if self._port is not None:
            self._at = self._recorded()
            self._port.begin(self._at)

    def take(self, namespace: tuple[str, ...], mode: str, chunk: Any) -> None:
        """What LangGraph streams. Never raises for what a node has made."""
        if self._port is None:
            return
        if mode == "checkpoints":
            self._at["|".join(namespace)] = str(chunk["config"]["configurable"].get("checkpoint_id", ""))
        if mode not in self._shown:
            return
        data, omitted = written(chunk)
        self._port.part(
            GraphPart(mode=mode, namespace=list(namespace), checkpoint=self._before(namespace), data=data or msgspec.UNSET, omitted=omitted)
        )

    def end(self, error: BaseException | None = None) -> None:
        """The graph has come back."""
        if self._port is not None:
            self._port.end(None if error is None else failure_of(error))

    def _before(self, namespace: tuple[str, ...]) -> str:
        """The newest checkpoint of the graph, or of the nearest around it that keeps any."""
        for end in range(len(namespace), -1, -1):
            found = self._at.get("|".join(namespace[:end]))
            if found is not None:
                return found
        return ""

    def _recorded(self) -> dict[str, str]:
        """The newest checkpoint of the root, and of the graphs within it that have gone on since."""
        root = self._namespaces.get("")
        if root is None:
            return {}
        newest = root.newest
        inner = {name: space.newest for name, space in self._namespaces.items() if name and space.newest > newest}
        kept = sorted(inner, key=lambda name: inner[name], reverse=True)[:_MAX_KEPT]
        return {"": newest, **{name: inner[name] for name in kept}}


def written(chunk: Any) -> tuple[Raw | None, str]:
    """A chunk as JSON, and why not where it cannot be shown. Messages are written as LangChain writes them."""
    try:
        plain = to_jsonable_python(chunk, by_alias=True, bytes_mode="base64", fallback=_plain)
        body = encode(plain)
    except Exception as error:  # noqa: BLE001 - whatever a node has put there may fail in any way, and the graph runs on
        return None, text_of(f"it cannot be written as JSON: {error}")[:_REASON_CHARS]
    if len(body) > MAX_GRAPH_PART_BYTES:
        return None, f"it has {len(body)} bytes, the limit is {MAX_GRAPH_PART_BYTES}"
    if nesting_of(body) > MAX_NESTING - _ROOM:
        return None, f"it is nested deeper than {MAX_NESTING - _ROOM} levels"
    return Raw(body), ""


def _plain(value: Any) -> Any:
    if isinstance(value, Send):
        return {"node": value.node, "arg": value.arg}
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value, builtin_types=(bytes,))
    if isinstance(value, BaseException):
        failure = failure_of(value)
        return {"type": failure.type, "message": failure.message}
    raise TypeError(f"a {type(value).__module__}.{type(value).__qualname__}")


__all__ = ["MODES", "GraphShow", "Mode", "modes_of", "written"]
