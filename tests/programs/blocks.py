"""Statements with others inside: every way of asyncio to do several things at once, to give up, and to clean up."""

from __future__ import annotations

from dataclasses import dataclass

from tests.programs.leaves import child_of
from tests.programs.tree import Body, Code, Node

Parts = tuple[Body, ...]


@dataclass(frozen=True)
class Gather(Node):
    parts: Parts
    keep: bool = False
    """`return_exceptions`"""

    def write(self, code: Code) -> None:
        parts = code.parts(self.parts)
        if self.keep:
            name = code.name("found")
            code.line(f"{name} = await asyncio.gather({', '.join(parts)}, return_exceptions=True)")
            code.line(f"tell([name_of(e) if isinstance(e, BaseException) else 'ok' for e in {name}])")
        else:
            code.line(f"await asyncio.gather({', '.join(parts)})")
            code.line("tell('gathered')")


@dataclass(frozen=True)
class Group(Node):
    """`asyncio.TaskGroup`; what goes on in the group's own body comes last."""

    parts: Parts
    body: Body = ()
    caught: bool = True

    def write(self, code: Code) -> None:
        parts = code.parts(self.parts)
        name = code.name("group")
        if self.caught:
            with code.block("try"):
                self._group(code, name, parts)
            with code.block("except* (Oops, ToolFailed) as error"):
                code.line("tell(name_of(error))")
        else:
            self._group(code, name, parts)
        code.line("tell('group ended')")

    def _group(self, code: Code, name: str, parts: list[str]) -> None:
        with code.block(f"async with asyncio.TaskGroup() as {name}"):
            for part in parts:
                code.line(f"{name}.create_task({part})")
            code.body(self.body)


@dataclass(frozen=True)
class Timeout(Node):
    """`asyncio.timeout`; `later` moves it once before the body."""

    after: float
    body: Body
    later: float | None = None
    caught: bool = True

    def write(self, code: Code) -> None:
        if self.caught:
            with code.block("try"):
                self._timeout(code)
            with code.block("except TimeoutError"):
                code.line("tell('timed out')")
        else:
            self._timeout(code)

    def _timeout(self, code: Code) -> None:
        name = code.name("limit")
        with code.block(f"async with asyncio.timeout({code.seconds(self.after)}) as {name}"):
            if self.later is not None:
                code.line(f"{name}.reschedule(asyncio.get_running_loop().time() + {code.seconds(self.later)})")
            code.body(self.body)
        code.line(f"tell({name}.expired())")


@dataclass(frozen=True)
class WaitFor(Node):
    after: float
    part: Body

    def write(self, code: Code) -> None:
        part = code.part(self.part)
        with code.block("try"):
            code.line(f"tell(await asyncio.wait_for({part}(), {code.seconds(self.after)}))")
        with code.block("except TimeoutError"):
            code.line("tell('waited too long')")


@dataclass(frozen=True)
class Wait(Node):
    """`asyncio.wait` on a set of tasks; those that are pending then are cancelled, or left."""

    parts: Parts
    until: str = "ALL_COMPLETED"
    after: float | None = None
    cancel: bool = True

    def write(self, code: Code) -> None:
        parts = code.parts(self.parts)
        tasks, done, pending = code.name("tasks"), code.name("done"), code.name("pending")
        code.line(f"{tasks} = [{', '.join(f'asyncio.create_task({part})' for part in parts)}]")
        waiting = f"asyncio.wait(set({tasks}), timeout={code.seconds(self.after)}, return_when=asyncio.{self.until})"
        code.line(f"{done}, {pending} = await {waiting}")
        code.line(f"tell([[{tasks}.index(t) for t in {done}], [{tasks}.index(t) for t in {pending}]])")
        code.line(f"tell([t.cancelled() or (t.exception() and name_of(t.exception())) for t in {done}])")
        if self.cancel:
            with code.block(f"for task in {pending}"):
                code.line("task.cancel()")


@dataclass(frozen=True)
class AsCompleted(Node):
    parts: Parts
    after: float | None = None

    def write(self, code: Code) -> None:
        parts, name = code.parts(self.parts), code.name("next")
        with code.block(f"for {name} in asyncio.as_completed([{', '.join(parts)}], timeout={code.seconds(self.after)})"):
            with code.block("try"):
                code.line(f"tell(await {name})")
            with code.block("except (Oops, ToolFailed, TimeoutError) as error"):
                code.line("tell(name_of(error))")


@dataclass(frozen=True)
class Spawn(Node):
    """A task beside the body; then it is awaited, cancelled, cancelled and awaited, or left alone."""

    part: Body
    body: Body = ()
    then: str = "await"

    def write(self, code: Code) -> None:
        part, name = code.part(self.part), code.name("task")
        code.line(f"{name} = asyncio.create_task({part}())")
        code.body(self.body)
        if "cancel" in self.then:
            code.line(f"tell({name}.cancel())")
        if "await" in self.then:
            code.line(f"tell([name_of(e) for e in await asyncio.gather({name}, return_exceptions=True) if e])")


@dataclass(frozen=True)
class Shield(Node):
    """A task that a timeout does not reach, awaited in the end."""

    part: Body
    after: float

    def write(self, code: Code) -> None:
        part, name = code.part(self.part), code.name("inner")
        code.line(f"{name} = asyncio.create_task({part}())")
        with code.block("try"):
            code.line(f"await asyncio.wait_for(asyncio.shield({name}), {code.seconds(self.after)})")
        with code.block("except TimeoutError"):
            code.line("tell('shielded')")
            code.line(f"await {name}")


@dataclass(frozen=True)
class Catch(Node):
    """`except Exception`, or (`cancelled`) one that swallows a cancellation or passes it on after another wait."""

    body: Body
    cancelled: str = ""
    last: Body = ()

    def write(self, code: Code) -> None:
        with code.block("try"):
            code.body(self.body)
        with code.block("except asyncio.CancelledError" if self.cancelled else "except Exception as error"):
            code.line("tell('cancelled')" if self.cancelled else "tell(name_of(error))")
            code.body(self.last)
            if self.cancelled == "raise":
                code.line("raise")


@dataclass(frozen=True)
class Finally(Node):
    body: Body
    last: Body

    def write(self, code: Code) -> None:
        with code.block("try"):
            code.body(self.body)
        with code.block("finally"):
            code.line("tell('finally')")
            code.body(self.last)


@dataclass(frozen=True)
class Locked(Node):
    body: Body
    lock: str = "lock"

    def write(self, code: Code) -> None:
        with code.block(f"async with {code.use(self.lock)}"):
            code.body(self.body)


@dataclass(frozen=True)
class Repeat(Node):
    times: int
    body: Body

    def write(self, code: Code) -> None:
        with code.block(f"for _ in range({self.times})"):
            code.body(self.body)


@dataclass(frozen=True)
class If(Node):
    """A branch that depends on chance, on what was told in which order, or on the clock."""

    body: Body
    other: Body = ()
    condition: str = "ctx.random().random() < 0.5"

    def write(self, code: Code) -> None:
        with code.block(f"if {self.condition}"):
            code.body(self.body)
        if self.other:
            with code.block("else"):
                code.body(self.other)


CONDITIONS = ("ctx.random().random() < 0.5", "len(told) % 2", "int(ctx.time() - began) % 2", "'slept' in str(told)")


@dataclass(frozen=True)
class Generate(Node):
    """An asynchronous generator that waits in its `finally`; `early`: the loop leaves it after the first value."""

    body: Body
    last: Body = ()
    early: bool = False

    def write(self, code: Code) -> None:
        name = code.name("generate")
        with code.block(f"async def {name}()"):
            with code.block("try"), code.block("for number in range(2)"):
                code.body(self.body)
                code.line("yield number")
            with code.block("finally"):
                code.body(self.last)
                code.line("tell('generator ends')")
        with code.block(f"async for number in {name}()"):
            code.line("tell(number)")
            if self.early:
                code.line("break")


@dataclass(frozen=True)
class Start(Node):
    """`ctx.start` of another agent; after the body the handle is awaited, cancelled, or left alone."""

    number: int = 0
    body: Body = ()
    then: str = "await"

    def write(self, code: Code) -> None:
        if not code.children:
            code.body(self.body)
            return
        name = code.name("handle")
        code.line(f"{name} = ctx.start({child_of(code, self.number)})")
        code.body(self.body)
        if "cancel" in self.then:
            code.line(f"{name}.cancel()")
        if "await" in self.then:
            code.line(f"tell(await {name})")
