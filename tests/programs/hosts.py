"""Where a run's coroutine lives: in this process, or in a process of another Python. Both answer in the same words.

A host only holds executions. When they run, die and go on elsewhere is the world's affair.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from functools import lru_cache
from typing import IO, Any, Protocol, Self

import msgspec
from msgspec import Raw, Struct

from tests.programs import kit
from tests.programs.pythons import environment
from waypost import Agent, Approval
from waypost.execution import EffectResult, Execution, LocalEffect
from waypost_proto.ids import CallId, RunId
from waypost_proto.work import Entry

_LENGTH = struct.Struct(">I")


class Answer(Struct, frozen=True, kw_only=True):
    """What came of one call: the new items, the local effects that want to start (id and name), and where the code stands."""

    items: list[Raw] = []
    effects: list[tuple[str, str]] = []
    seen: int = 0
    finished: bool = False
    diverged: bool = False


class Open(Struct, frozen=True, tag=True):
    source: str
    agent: str
    run_id: RunId
    steps_left: int | None
    unfunded: list[CallId] = []


class Replay(Struct, frozen=True, tag=True):
    journal: list[Entry]
    seen: int


class Feed(Struct, frozen=True, tag=True):
    entries: list[Entry]


class Finish(Struct, frozen=True, tag=True):
    result: EffectResult


class Grant(Struct, frozen=True, tag=True):
    steps_left: int | None
    unfunded: list[CallId] = []


class Close(Struct, frozen=True, tag=True):
    pass


Order = Open | Replay | Feed | Finish | Grant | Close


class Request(Struct, frozen=True):
    """An order for the execution of this number."""

    number: int
    order: Order


class Host(Protocol):
    """Something that holds executions."""

    name: str

    def ask(self, number: int, order: Order) -> Answer:
        """Do it to execution `number`, which `Open` makes and `Close` ends."""
        ...


@lru_cache(maxsize=64)
def agents_of(source: str) -> dict[str, Agent[..., Any]]:
    """The agents of a written program, by name."""
    names: dict[str, Any] = {**vars(kit), "Approval": Approval, "__name__": "program"}
    exec(compile(source, "<program>", "exec"), names)
    return {value.name: value for value in names.values() if isinstance(value, Agent)}


class Here:
    """In this process."""

    def __init__(self) -> None:
        self.name = f"{sys.version_info.major}.{sys.version_info.minor}"
        self._executions: dict[int, Execution] = {}
        self._effects: list[LocalEffect] = []

    def ask(self, number: int, order: Order) -> Answer:
        if isinstance(order, Open):
            agent = agents_of(order.source)[order.agent]
            execution = Execution(agent, order.run_id, steps_left=order.steps_left, start_effect=self._effects.append)
            execution.metered(False, order.unfunded)
            self._executions[number] = execution
            return Answer()
        execution = self._executions[number]
        match order:
            case Replay():
                execution.replay(order.journal, order.seen)
            case Feed():
                execution.feed(order.entries)
            case Finish():
                execution.finish_effect(order.result)
            case Grant():
                execution.metered(False, order.unfunded)
                execution.grant(order.steps_left)
            case Close():
                self._executions.pop(number).close()
                return Answer()
        effects = [(str(effect.call_id), effect.name) for effect in self._effects]
        self._effects.clear()
        return Answer(
            items=[Raw(_ENCODER.encode(item)) for item in execution.take_items()],
            effects=effects,
            seen=execution.seen,
            finished=execution.finished,
            diverged=execution.diverged,
        )


class Elsewhere:
    """In a process of another Python, which must have what `constraints.txt` says of msgspec and structlog. Use as `with`."""

    def __init__(self, python: str) -> None:
        self._process = subprocess.Popen(
            [python, "-W", "ignore", "-m", "tests.programs.remote"],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.name = str(receive(_pipe(self._process.stdout), str))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _pipe(self._process.stdin).close()
        self._process.wait()
        _pipe(self._process.stdout).close()

    def ask(self, number: int, order: Order) -> Answer:
        send(_pipe(self._process.stdin), Request(number, order))
        answer: Answer = receive(_pipe(self._process.stdout), Answer)
        return answer


_ENCODER = msgspec.json.Encoder()


def send(pipe: IO[bytes], message: object) -> None:
    """One message, with its length before it."""
    body = _ENCODER.encode(message)
    pipe.write(_LENGTH.pack(len(body)) + body)
    pipe.flush()


def receive(pipe: IO[bytes], kind: type[Any]) -> Any:
    """The next message. Raises `EOFError` when the other side is gone."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError("the other Python has ended")
    return msgspec.json.decode(pipe.read(_LENGTH.unpack(head)[0]), type=kind)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
