"""Changes of a program, as a deploy would bring them: a statement goes, comes, or becomes another one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

from tests.programs.tree import Body, Node, Program


@dataclass(frozen=True)
class Change:
    """What happens to statement number `at` of the main agent, counted in the order of the text (modulo how many there are)."""

    at: int
    how: str
    leaf: Node

    def of(self, program: Program) -> Program:
        count = sum(1 for _ in _walk(program.main))
        main, _ = _edit(program.main, self.at % count, self)
        return replace(program, main=main)


def _bodies(node: Node) -> Iterator[tuple[str, Any]]:
    for field in fields(node):  # type: ignore[arg-type]  # every node is a dataclass
        value = getattr(node, field.name)
        if isinstance(value, tuple):
            yield field.name, value


def _walk(value: Any) -> Iterator[Node]:
    for one in value:
        if isinstance(one, Node):
            yield one
            for _, inner in _bodies(one):
                yield from _walk(inner)
        else:
            yield from _walk(one)


def _edit(value: Any, at: int, change: Change) -> tuple[Any, int]:
    """`value` (a body, or a tuple of bodies) with its `at`-th statement changed; what is left of `at` if it has fewer."""
    edited: list[Any] = []
    for one in value:
        if at < 0:
            edited.append(one)
        elif not isinstance(one, Node):
            inner, at = _edit(one, at, change)
            edited.append(inner)
        elif at == 0:
            edited.extend(_changed(one, change))
            at = -1
        else:
            node, at = _edit_node(one, at - 1, change)
            edited.append(node)
    return tuple(edited), at


def _edit_node(node: Node, at: int, change: Change) -> tuple[Node, int]:
    for name, inner in _bodies(node):
        if at >= 0:
            changed, at = _edit(inner, at, change)
            node = replace(node, **{name: changed})  # type: ignore[type-var]
    return node, at


def _changed(node: Node, change: Change) -> Body:
    match change.how:
        case "remove":
            return ()
        case "insert":
            return (change.leaf, node)
        case "append":
            return (node, change.leaf)
        case _:
            return (change.leaf,)


HOWS = ("remove", "insert", "append", "replace")
