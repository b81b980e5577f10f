"""One run's checkpoints, folded from its log, and written as changes to it. Pure: owns no I/O; safe to use from a graph's threads.

What is written is read back by the same fold that reads the log, so the run in memory and the one that comes back after a crash see
the same. Values are decoded when a graph asks for them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from waypost.langgraph.pieces import Listed, Piece, Pieces, Serializer, Whole, Written, in_elements, splice
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode, encode

Version = int | float | str
FORGOTTEN = "forgotten"
"""The `source` of an item that takes a checkpoint back: it and its writes count no more. Only savers outside runs write it."""


class State(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`SaveCheckpoint.state`: what is different from the parent. `gone` names channels and nodes that the parent has and this has not."""

    v: int = 1
    ts: str = ""
    versions: dict[str, Version] = {}
    gone: tuple[str, ...] = ()
    seen: dict[str, dict[str, Version]] = {}
    seen_gone: tuple[str, ...] = ()
    updated: list[str] | None = None
    values: dict[str, Written | None] = {}
    metadata: Raw | UnsetType = UNSET
    metadata_piece: int | None = None
    pieces: tuple[Piece, ...] = ()


class Write(Struct, frozen=True, array_like=True):
    """One write of a task: its place among the task's writes (below 0 for LangGraph's own), the channel, the value."""

    index: int
    channel: str
    value: Written


class Writes(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`SaveWrites.writes`."""

    path: str = ""
    writes: tuple[Write, ...] = ()
    pieces: tuple[Piece, ...] = ()


class Saved(Struct, kw_only=True):
    """One checkpoint in memory. `values` are of this checkpoint's own new versions."""

    id: str
    parent: str
    state: State
    versions: dict[str, Version]
    seen: dict[str, dict[str, Version]]
    metadata: dict[str, Any]


class TaskWrite(Struct, frozen=True, kw_only=True):
    """One write in memory."""

    task: str
    path: str
    index: int
    channel: str
    value: Written


class _Live(Struct):
    """The newest list that was written to a channel, as objects and as pieces: what is still there need not be written again."""

    version: Version
    elements: list[Any]
    numbers: list[int]


class Namespace(Struct):
    """The checkpoints of one graph of the run: of the root, or of one invocation of a subgraph."""

    checkpoints: dict[str, Saved] = field(default_factory=dict)
    writes: dict[str, dict[tuple[str, int], TaskWrite]] = field(default_factory=dict)
    values: dict[tuple[str, Version], Written | None] = field(default_factory=dict)
    live: dict[str, _Live] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    """Objects that tasks have written since the last checkpoint: they may have been changed in place."""
    newest: str = ""
    """Id of the newest checkpoint (ids sort by time); "" without any."""


class Thread:
    """See the module."""

    def __init__(self, serializer: Serializer) -> None:
        self.pieces = Pieces(serializer)
        self.namespaces: dict[str, Namespace] = {}
        self.lock = threading.RLock()
        self.entries = 0
        """Checkpoints and sets of writes so far."""

    # -- reading the log

    def fold(self, data: ev.CheckpointSaved | ev.WritesSaved, body: bytes) -> None:
        """Apply one event; `body` is the JSON of its state or writes."""
        with self.lock:
            if isinstance(data, ev.WritesSaved):
                writes = decode(Writes, body)
                self.pieces.learn(writes.pieces)
                self._apply_writes(data.namespace, data.checkpoint, data.task, writes)
            elif data.source == FORGOTTEN:
                self._forget(data.namespace, data.checkpoint)
            else:
                state = decode(State, body)
                self.pieces.learn(state.pieces)
                self._apply(data.namespace, data.checkpoint, data.parent, state)

    # -- writing to it

    def checkpoint(
        self, namespace: str, parent: str, checkpoint: Mapping[str, Any], metadata: dict[str, Any], changed: Mapping[str, Version]
    ) -> cmd.SaveCheckpoint:
        """A checkpoint as an item (`seen` 0), applied here already. Raises `StateNotSerializable`, and nothing is changed then."""
        with self.lock:
            space = self.namespaces.setdefault(namespace, Namespace())
            before = space.checkpoints.get(parent)
            versions, seen = checkpoint["channel_versions"], checkpoint["versions_seen"]
            old_versions = before.versions if before else {}
            old_seen = before.seen if before else {}
            values = checkpoint["channel_values"]
            written = {name: self._write(space, name, version, values, before) for name, version in changed.items()}
            plain, number = self._metadata(metadata)
            state = State(
                v=checkpoint["v"],
                ts=checkpoint["ts"],
                versions={k: v for k, v in versions.items() if old_versions.get(k) != v},
                gone=tuple(k for k in old_versions if k not in versions),
                seen={k: dict(v) for k, v in seen.items() if old_seen.get(k) != v},
                seen_gone=tuple(k for k in old_seen if k not in seen),
                updated=None if checkpoint.get("updated_channels") is None else list(checkpoint["updated_channels"]),
                values=written,
                metadata=plain,
                metadata_piece=number,
                pieces=self.pieces.take_fresh(),
            )
            self._apply(namespace, checkpoint["id"], parent, state)
            return cmd.SaveCheckpoint(
                seen=0,
                checkpoint=checkpoint["id"],
                namespace=namespace,
                parent=parent,
                number=int(metadata.get("step", 0)),
                source=str(metadata.get("source", "")),
                state=Raw(encode(state)),
            )

    def task_writes(
        self, namespace: str, checkpoint: str, task: str, path: str, writes: Sequence[tuple[int, str, object]]
    ) -> cmd.SaveWrites | None:
        """A task's writes `(index, channel, value)` as an item; None if all of them are there. Raises `StateNotSerializable`."""
        with self.lock:
            space = self.namespaces.setdefault(namespace, Namespace())
            held = space.writes.get(checkpoint, {})
            wanted = [w for w in writes if w[0] < 0 or (task, w[0]) not in held]
            if not wanted:
                return None
            made = tuple(Write(index, channel, self._value(channel, value, space.touched)) for index, channel, value in wanted)
            packed = Writes(path=path, writes=made, pieces=self.pieces.take_fresh())
            self._apply_writes(namespace, checkpoint, task, packed)
            return cmd.SaveWrites(seen=0, checkpoint=checkpoint, namespace=namespace, task=task, writes=Raw(encode(packed)))

    def forget(self, namespace: str, checkpoint: str) -> cmd.SaveCheckpoint:
        """Take a checkpoint back, as an item."""
        with self.lock:
            self._forget(namespace, checkpoint)
            return cmd.SaveCheckpoint(seen=0, checkpoint=checkpoint, namespace=namespace, source=FORGOTTEN)

    # -- asking

    def channel_values(self, namespace: str, saved: Saved) -> dict[str, Any]:
        """The values of a checkpoint, decoded: new objects each time."""
        with self.lock:
            space = self.namespaces[namespace]
            found: dict[str, Any] = {}
            for channel, version in saved.versions.items():
                written = space.values.get((channel, version))
                if written is not None:
                    found[channel] = self._load(written, space, channel)
            return found

    def writes_of(self, namespace: str, checkpoint: str) -> list[TaskWrite]:
        """The writes since a checkpoint, in the order in which LangGraph applies them."""
        with self.lock:
            space = self.namespaces.get(namespace)
            held = space.writes.get(checkpoint, {}) if space else {}
            return sorted(held.values(), key=lambda w: (w.path, w.task, w.index))

    def load(self, write: TaskWrite) -> Any:
        """The value of a write, decoded."""
        with self.lock:
            return self._load(write.value, None, write.channel)

    def each(self) -> Iterator[tuple[str, Saved]]:
        """Every checkpoint with its namespace, newest first."""
        with self.lock:
            found = [(name, saved) for name, space in self.namespaces.items() for saved in space.checkpoints.values()]
        return iter(sorted(found, key=lambda pair: pair[1].id, reverse=True))

    # -- inside

    def _metadata(self, metadata: dict[str, Any]) -> tuple[Raw | UnsetType, int | None]:
        try:
            return Raw(encode(metadata)), None
        except (TypeError, ValueError, OverflowError, RecursionError):
            return UNSET, self.pieces.number_of("the metadata of a checkpoint", metadata)

    def _write(self, space: Namespace, channel: str, version: Version, values: Mapping[str, Any], before: Saved | None) -> Written | None:
        live = space.live.pop(channel, None)
        if channel not in values:
            return None
        value = values[channel]
        if not in_elements(value):
            return Whole(piece=self.pieces.number_of(f"channel {channel!r}", value))
        numbers = self._numbers(channel, value, live, space.touched)
        space.live[channel] = _Live(version, list(value), numbers)
        base = live.version if live is not None else before.versions.get(channel) if before is not None else None
        if base is None:
            return Listed(add=tuple(numbers))
        old = live.numbers if live is not None else _resolved(space, channel, base)
        return splice(old, numbers, base)

    def _numbers(self, channel: str, value: list[Any], live: _Live | None, touched: set[int]) -> list[int]:
        """A piece for each element. The same object at the same place as before was not changed, unless a node returned it."""
        what = f"channel {channel!r}"
        known = live.elements if live is not None else []
        numbers = live.numbers if live is not None else []
        found: list[int] = []
        for at, element in enumerate(value):
            if at < len(known) and known[at] is element and id(element) not in touched:
                found.append(numbers[at])
            else:
                found.append(self.pieces.number_of(what, element))
        return found

    def _value(self, channel: str, value: object, touched: set[int]) -> Written:
        what = f"what was written to channel {channel!r}"
        if isinstance(value, list) and in_elements(value):
            touched.update(map(id, value))
            return Listed(add=tuple(self.pieces.number_of(what, element) for element in value))
        touched.add(id(value))
        return Whole(piece=self.pieces.number_of(what, value))

    def _load(self, written: Written, space: Namespace | None, channel: str) -> Any:
        if isinstance(written, Whole):
            return self.pieces.load(written.piece)
        if written.base is None or space is None:
            return [self.pieces.load(number) for number in written.add]
        return [self.pieces.load(number) for number in _spliced(_resolved(space, channel, written.base), written)]

    def _apply(self, namespace: str, checkpoint: str, parent: str, state: State) -> None:
        self.entries += 1
        space = self.namespaces.setdefault(namespace, Namespace())
        before = space.checkpoints.get(parent)
        versions = dict(before.versions) if before else {}
        seen = dict(before.seen) if before else {}
        for name in state.gone:
            versions.pop(name, None)
        for name in state.seen_gone:
            seen.pop(name, None)
        versions |= state.versions
        seen |= state.seen
        for channel, written in state.values.items():
            space.values[channel, versions[channel]] = written
        space.touched.clear()
        plain = state.metadata
        metadata = self.pieces.load(state.metadata_piece or 0) if plain is UNSET else decode(dict[str, Any], plain)
        kept = msgspec.structs.replace(state, values={}, pieces=(), metadata=UNSET, versions={}, seen={})
        space.checkpoints[checkpoint] = Saved(id=checkpoint, parent=parent, state=kept, versions=versions, seen=seen, metadata=metadata)
        space.newest = max(space.newest, checkpoint)

    def _apply_writes(self, namespace: str, checkpoint: str, task: str, packed: Writes) -> None:
        space = self.namespaces.setdefault(namespace, Namespace())
        held = space.writes.setdefault(checkpoint, {})
        self.entries += 1
        for write in packed.writes:
            held[task, write.index] = TaskWrite(task=task, path=packed.path, index=write.index, channel=write.channel, value=write.value)

    def _forget(self, namespace: str, checkpoint: str) -> None:
        space = self.namespaces.get(namespace)
        if space is not None:
            space.checkpoints.pop(checkpoint, None)
            space.newest = max(space.checkpoints, default="")
            space.writes.pop(checkpoint, None)
            space.live.clear()
            if not space.checkpoints and not space.writes:
                del self.namespaces[namespace]


def _resolved(space: Namespace, channel: str, version: Version) -> list[int]:
    """The pieces of a list, through all the changes that led to it."""
    changes: list[Listed] = []
    written = space.values.get((channel, version))
    while isinstance(written, Listed):
        changes.append(written)
        if written.base is None:
            break
        written = space.values.get((channel, written.base))
    numbers: list[int] = []
    for change in reversed(changes):
        numbers = _spliced(numbers, change)
    return numbers


def _spliced(old: list[int], change: Listed) -> list[int]:
    if change.base is None:
        return list(change.add)
    return [*old[: change.keep], *change.add, *old[change.keep + change.drop :]]


__all__ = ["FORGOTTEN", "Namespace", "Saved", "State", "TaskWrite", "Thread", "Version", "Write", "Writes"]
