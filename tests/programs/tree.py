"""Programs as trees, and the Python that they stand for. What hypothesis draws and shrinks is the tree; what runs is the text.

A node writes statements. What it learns it tells (`tell`), with the run's time, so that two lives that differ anywhere differ in
the run's result. Times are in units of `Program.unit` seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

SHARED = {
    "lock": "asyncio.Lock()",
    "turns": "asyncio.Semaphore(2)",
    "gate": "asyncio.Event()",
    "box": "asyncio.Queue(2)",
    "bell": "asyncio.Condition()",
}
"""What the tasks of a program have in common; declared where it is used."""


class Code:
    """Lines of Python under construction."""

    def __init__(self, *, unit: float = 1.0, children: Sequence[str] = ()) -> None:
        self.lines: list[str] = []
        self.children = children
        self.shared: dict[str, None] = {}
        self._unit = unit
        self._depth = 1
        self._names: dict[str, int] = {}

    def line(self, text: str) -> None:
        self.lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """`head:` and what is written inside; `pass` if that is nothing."""
        self.line(f"{head}:")
        self._depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.line("pass")
        self._depth -= 1

    def body(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            node.write(self)

    def name(self, kind: str) -> str:
        """A name that was not used before."""
        number = self._names[kind] = self._names.get(kind, 0) + 1
        return f"{kind}{number}"

    def key(self) -> int:
        """A number that no other leaf has."""
        number = self._names[""] = self._names.get("", 0) + 1
        return number

    def seconds(self, units: float | None) -> str:
        return "None" if units is None else f"{units * self._unit:g}"

    def part(self, nodes: Sequence[Node]) -> str:
        """A coroutine function of its own, to run beside others."""
        name = self.name("part")
        with self.block(f"async def {name}()"):
            self.body(nodes)
        return name

    def parts(self, parts: Sequence[Sequence[Node]]) -> list[str]:
        return [f"{self.part(part)}()" for part in parts]

    def use(self, shared: str) -> str:
        self.shared[shared] = None
        return shared


class Node:
    """One statement, with what stands inside it. All fields are numbers, words, nodes, or tuples of these."""

    def write(self, code: Code) -> None:
        raise NotImplementedError


Body = tuple[Node, ...]


@dataclass(frozen=True)
class Program:
    """`main` and the agents that it starts (each may start those after it); signals as (time, name); `bare`: errors end the run."""

    main: Body
    children: tuple[Body, ...] = ()
    signals: tuple[tuple[float, str], ...] = ()
    bare: bool = False
    max_steps: int | None = None

    def source(self, *, unit: float = 1.0, prefix: str = "") -> str:
        """The agents as a module for `kit`; `prefix` keeps their names apart from those of other programs in the same module."""
        names = [f"{prefix}child{number}" for number in range(1, len(self.children) + 1)]
        agents = [
            _agent(name, body, names[number + 1 :], unit=unit, bare=True)
            for number, (name, body) in enumerate(zip(names, self.children, strict=True))
        ]
        agents.reverse()
        return "\n\n".join([*agents, _agent(f"{prefix}main", self.main, names, unit=unit, bare=self.bare)])

    def describe(self) -> str:
        """For people: the module, and what else belongs to the story."""
        text = self.source()
        if self.signals:
            text += "\n# signals: " + ", ".join(f"{name!r} at {at:g}" for at, name in self.signals)
        return text + (f"\n# max_steps={self.max_steps}" if self.max_steps is not None else "")


def _agent(name: str, body: Body, children: Sequence[str], *, unit: float, bare: bool) -> str:
    code = Code(unit=unit, children=children)
    if bare:
        code.body(body)
    else:
        with code.block("try"):
            code.body(body)
        with code.block("except Exception as error"):
            code.line("tell(name_of(error))")
    head = [
        f"@agent(tools=[look, keep], agents=[{', '.join(children)}], name={name!r})",
        f"async def {name}(ctx: Context) -> list:",
        "    told = []",
        "    tell = lambda what: told.append([what, round(ctx.time() - began, 6)])",
        "    began = ctx.time()",
        *(f"    {shared} = {SHARED[shared]}" for shared in code.shared),
    ]
    return "\n".join([*head, *code.lines, "    return told", ""])
