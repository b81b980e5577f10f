"""How a graph's values are written: in pieces, each once for a run, and lists as what changed in them. Pure; owns no log.

A value is one serialised piece, or a list with a piece for each element. A piece that the run's log has already (a message that a node
has written, and the checkpoint holds) is named by its number: pieces are numbered in the order of the log. A list that grew names its
earlier version and what is new, so what is kept of a conversation costs nothing at each step (P10).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

_SCALARS = (int, float, bool, type(None))
_TYPE_CHARS = 200


class Serializer(Protocol):
    """`langgraph.checkpoint.serde.base.SerializerProtocol`, as far as it is used."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]: ...
    def loads_typed(self, data: tuple[str, bytes]) -> Any: ...


class Piece(Struct, frozen=True, array_like=True):
    """One serialised object: the serializer's name for the form, and its bytes in base64."""

    form: str
    data: str


class Whole(Struct, tag_field="is", tag="one", frozen=True, kw_only=True):
    """A value that is one piece."""

    piece: int


class Listed(Struct, tag_field="is", tag="list", frozen=True, kw_only=True, omit_defaults=True):
    """A list: `keep` elements of the version `base` of the same channel, `add`, then the rest of `base` after `drop` more."""

    add: tuple[int, ...] = ()
    base: int | float | str | None = None
    keep: int = 0
    drop: int = 0


Written = Whole | Listed


class StateNotSerializable(TypeError):
    """A graph put something into its state that cannot be written down."""


class Pieces:
    """All pieces of one run, in the order of its log."""

    def __init__(self, serializer: Serializer) -> None:
        self.serializer = serializer
        self._known: list[tuple[str, bytes]] = []
        self._numbers: dict[bytes, int] = {}
        self._fresh: list[Piece] = []

    def number_of(self, what: str, value: object) -> int:
        """The number of the piece that holds `value`. Raises `StateNotSerializable`."""
        try:
            form, data = self.serializer.dumps_typed(value)
        except Exception as error:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"[:_TYPE_CHARS]
            raise StateNotSerializable(
                f"{what} holds a {kind} that cannot be written to the log: {error}. Keep in the state what a checkpoint can hold (plain "
                "values, dataclasses, pydantic models, messages), and make clients and connections where they are used"
            ) from error
        mark = _mark(form, data)
        number = self._numbers.get(mark)
        if number is None:
            number = self._add(form, data, mark)
            self._fresh.append(Piece(form, base64.b64encode(data).decode()))
        return number

    def take_fresh(self) -> tuple[Piece, ...]:
        """The pieces since the last call: what goes into the item that is being written."""
        fresh, self._fresh = tuple(self._fresh), []
        return fresh

    def learn(self, pieces: Sequence[Piece]) -> None:
        """The pieces of an item that was read from the log."""
        for piece in pieces:
            data = base64.b64decode(piece.data)
            self._add(piece.form, data, _mark(piece.form, data))

    def load(self, number: int) -> Any:
        """A new object from a piece."""
        return self.serializer.loads_typed(self._known[number])

    def _add(self, form: str, data: bytes, mark: bytes) -> int:
        number = len(self._known)
        self._known.append((form, data))
        self._numbers.setdefault(mark, number)
        return number


def in_elements(value: object) -> bool:
    """Whether it is a list that is worth a piece for each element: numbers are written together."""
    return type(value) is list and bool(value) and not isinstance(value[0], _SCALARS)


def splice(old: Sequence[int], new: Sequence[int], base: float | str) -> Listed:
    """`new` as a change of `old`, which is version `base`; whole where they begin differently."""
    shorter = min(len(old), len(new))
    keep = 0
    while keep < shorter and old[keep] == new[keep]:
        keep += 1
    tail = 0
    while tail < shorter - keep and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    if keep + tail == 0:
        return Listed(add=tuple(new))
    return Listed(add=tuple(new[keep : len(new) - tail]), base=base, keep=keep, drop=len(old) - keep - tail)


def _mark(form: str, data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16, person=form.encode()[:16]).digest()


__all__ = ["Listed", "Piece", "Pieces", "Serializer", "StateNotSerializable", "Whole", "Written", "in_elements", "splice"]
