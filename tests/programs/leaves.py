"""Statements without others inside: everything that an agent's code can ask for, wait for, or do to itself."""

from __future__ import annotations

from dataclasses import dataclass

from tests.programs.tree import Code, Node


@dataclass(frozen=True)
class Call(Node):
    """A tool call that takes so long and fails so often; with an approval it waits for a person first."""

    tool: str = "look"
    takes: float = 0
    fails: int = 0
    approval: bool = False

    def write(self, code: Code) -> None:
        tool = f"{self.tool}.using(approval=Approval(role='officer', expires={code.seconds(4)}))" if self.approval else self.tool
        fails = f", fails={self.fails}" if self.fails else ""
        code.line(f"tell(await ctx.call({tool}, {code.key()}, takes={code.seconds(self.takes)}{fails}))")


@dataclass(frozen=True)
class Step(Node):
    """A local step. Its name says what it does, so that whoever answers for it knows."""

    takes: float = 0
    fails: int = 0

    def write(self, code: Code) -> None:
        key, takes = code.key(), code.seconds(self.takes)
        code.line(f"tell(await ctx.step(work, {key}, {takes}, {self.fails}, name='work-{key}-{takes}-{self.fails}'))")


@dataclass(frozen=True)
class Child(Node):
    """`ctx.call` of another agent."""

    number: int = 0

    def write(self, code: Code) -> None:
        if code.children:
            code.line(f"tell(await ctx.call({child_of(code, self.number)}))")
        else:
            code.line("tell('no child')")


def child_of(code: Code, number: int) -> str:
    return code.children[number % len(code.children)]


@dataclass(frozen=True)
class Sleep(Node):
    seconds: float = 0

    def write(self, code: Code) -> None:
        code.line(f"await asyncio.sleep({code.seconds(self.seconds)})")
        code.line("tell('slept')")


@dataclass(frozen=True)
class Signal(Node):
    name: str = "a"

    def write(self, code: Code) -> None:
        code.line(f"tell(await ctx.signal({self.name!r}))")


@dataclass(frozen=True)
class State(Node):
    """`ctx.set_state`."""

    def write(self, code: Code) -> None:
        code.line(f"ctx.set_state({{'at': {code.key()}, 'told': len(told)}})")


@dataclass(frozen=True)
class Draw(Node):
    """Chance, ids and clocks of the run."""

    what: str = "ctx.random().random()"

    def write(self, code: Code) -> None:
        code.line(f"tell({self.what})")


DRAWS = ("ctx.random().random()", "str(ctx.uuid())", "ctx.now().isoformat()", "ctx.random().randrange(9)", "ctx.time()")


@dataclass(frozen=True)
class Raise(Node):
    def write(self, code: Code) -> None:
        code.line(f"raise Oops({code.key()})")


@dataclass(frozen=True)
class Do(Node):
    """One line about what tasks share, or about the task itself."""

    what: str = "gate.set()"

    def write(self, code: Code) -> None:
        shared, line = DOINGS[self.what]
        if shared:
            code.use(shared)
        code.line(line)


DOINGS = {
    "gate.set()": ("gate", "gate.set()"),
    "gate.clear()": ("gate", "gate.clear()"),
    "gate.wait()": ("gate", "tell(await gate.wait())"),
    "box.put()": ("box", "await box.put(len(told))"),
    "box.get()": ("box", "tell(await box.get())"),
    "bell.notify()": ("bell", "async with bell: bell.notify_all()"),
    "bell.wait()": ("bell", "async with bell: tell(await bell.wait())"),
    "cancel()": ("", "asyncio.current_task().cancel()"),
    "cancelling()": ("", "tell(asyncio.current_task().cancelling())"),
    "tasks": ("", "tell(len(asyncio.all_tasks()))"),
    "return": ("", "return"),
}
