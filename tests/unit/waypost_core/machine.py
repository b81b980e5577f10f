"""Given, when, then for the run's state machine: a run that takes messages and shows what follows."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Raw

from waypost_core.decide import decide
from waypost_core.decision import Decision
from waypost_core.effects import AnyEffect, SetTimer
from waypost_core.evolve import evolve, fold
from waypost_core.messages import AnyMessage, Env, TimersDue
from waypost_core.react import react
from waypost_core.state import RunState
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.codec import encode
from waypost_proto.ids import CallId, RunId, chain_digest
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.task import format_time
from waypost_proto.values import Budget, Effect, Retry, Token

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
START = 1_000.0
RETRY = Retry(max_attempts=3, initial_seconds=1.0, factor=2.0, jitter=0.0)
TOOLS = {
    "read": ToolDefinition(name="read", effect=Effect.READ, retry=RETRY),
    "safe": ToolDefinition(name="safe", effect=Effect.IDEMPOTENT, retry=RETRY),
    "pay": ToolDefinition(name="pay", effect=Effect.UNSAFE, retry=RETRY),
    "asks": ToolDefinition(name="asks", effect=Effect.UNSAFE, retry=RETRY, reconcile=True),
    "forbidden": ToolDefinition(name="forbidden", effect=Effect.READ),
}
AGENTS = {"clerk": AgentDefinition(name="clerk", build="b1", tools=["read", "safe", "pay", "asks", "later"], agents=["helper"])}


class Machine:
    """One run. `tell` decides a message, applies its events and keeps everything: `events`, `effects`, `decision` of the last one."""

    def __init__(self, *, started: bool = True, budget: Budget | None = None, deadline: str | None = None) -> None:
        self.state: RunState | None = None
        self.now = START
        self.tools = dict(TOOLS)
        self.log: list[ev.Event] = []
        self.decision = Decision()
        self.events: list[ev.Data] = []
        self.effects: list[AnyEffect] = []
        self.timers: dict[str, float] = {}
        if started:
            self.start(budget=budget, deadline=deadline)

    def start(self, *, budget: Budget | None = None, deadline: str | None = None, **more: object) -> Machine:
        return self.tell(mb.StartRun(run_id=RUN, agent="clerk", input=Raw(b"1"), budget=budget, deadline=deadline, **more))  # type: ignore[arg-type]

    def tell(self, message: AnyMessage) -> Machine:
        if isinstance(message, TimersDue):  # time goes on until they are
            self.now = max([self.now, *(self.timers.pop(timer_id, 0.0) for timer_id in message.timer_ids)])
        env = Env(now=self.now, tools=self.tools, agents=AGENTS)
        self.decision = decide(self.state, message, env)
        self.events = self.decision.events
        if self.events and self.state is None:
            self.state = RunState(run_id=RUN, agent="clerk", correlation_id=RUN)
        cause = self.decision.cause
        first = self.the.seq + 1 if self.events else 0
        for data in self.events:
            evolve(self.the, self.the.seq + 1, self.now, data, cause)
            self.log.append(self._recorded(data, cause))
            cause = ""
        self.effects = list(self.decision.effects)
        for offset, data in enumerate(self.events):
            self.effects.extend(react(self.the, first + offset, data))
        self.timers.update((effect.timer_id, effect.due_at) for effect in self.effects if isinstance(effect, SetTimer))
        return self

    @property
    def the(self) -> RunState:
        assert self.state is not None
        return self.state

    @property
    def types(self) -> list[str]:
        """Event types of the last decision."""
        return [str(type(data).__struct_config__.tag) for data in self.events]

    def of(self, kind: type) -> list[AnyEffect]:
        """Effects of the last decision of one kind."""
        return [effect for effect in self.effects if type(effect) is kind]

    def advance(self, *items: cmd.AnyItem, base: str | None = None, running: int = 0, worker: str = "w1") -> Machine:
        """A worker's answer on the journal that the run has, having seen everything."""
        return self.tell(self.advance_message(*items, base=base, running=running, worker=worker))

    def advance_message(self, *items: cmd.AnyItem, base: str | None = None, running: int = 0, worker: str = "w1") -> mb.Advance:
        return mb.Advance(
            run_id=RUN,
            agent="clerk",
            worker=worker,
            build="b1",
            token=Token(1, 1),
            base=self.the.digest if base is None else base,
            seen=self.the.outside,
            running=running,
            items=Raw(encode(list(items))),
        )

    def call(self, tool: str, call_id: str = "0:1", **more: object) -> cmd.CallTool:
        return cmd.CallTool(seen=self.the.outside, id=CallId(call_id), tool=tool, args=Raw(b'{"x":1}'), **more)  # type: ignore[arg-type]

    def calls(self, tool: str, call_id: str = "0:1", **more: object) -> Machine:
        return self.advance(self.call(tool, call_id, **more))

    def refold(self) -> RunState:
        """The state as the log alone gives it."""
        return fold(self.log)

    def _recorded(self, data: ev.Data, cause: str) -> ev.Event:
        return ev.Event(
            run_id=RUN,
            seq=self.the.seq,
            type=str(type(data).__struct_config__.tag),
            agent="clerk",
            correlation_id=RUN,
            recorded_at=format_time(self.now),
            cause=cause,
            data=Raw(encode(data)),
        )


def succeeded(call_id: str = "0:1", attempt: int = 1) -> mb.ToolSucceeded:
    return mb.ToolSucceeded(run_id=RUN, call_id=CallId(call_id), attempt=attempt, result=Raw(b"2"))


def failed(call_id: str = "0:1", attempt: int = 1, **more: object) -> mb.ToolFailed:
    return mb.ToolFailed(run_id=RUN, call_id=CallId(call_id), attempt=attempt, error=mb.Failure(type="Boom", message="no"), **more)  # type: ignore[arg-type]


def uncertain(call_id: str = "0:1", attempt: int = 1) -> mb.ToolUncertain:
    return mb.ToolUncertain(
        run_id=RUN, call_id=CallId(call_id), attempt=attempt, error=mb.Failure(type="Timeout", message="?"), settle_seconds=5
    )


def chain(base: str, *items: cmd.AnyItem) -> str:
    return chain_digest(base, encode(list(items)))


def names(effects: Sequence[object]) -> list[str]:
    return [type(effect).__name__ for effect in effects]
