"""A tree of runs with a mailbox between them, for tests of what they may use together. Messages wait until a test delivers them."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import Raw

from waypost_core import effects as fx
from waypost_core.budgets import NOTHING, Amount, amount, plus
from waypost_core.decide import decide
from waypost_core.decision import Decision
from waypost_core.evolve import evolve, fold
from waypost_core.messages import AnyMessage, Env
from waypost_core.react import react
from waypost_core.state import RunState, decode_state, encode_state
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.codec import encode
from waypost_proto.ids import CallId, RunId
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.task import format_time
from waypost_proto.usage import Usage
from waypost_proto.values import Budget, Effect, Token

ROOT = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
TOOLS = {"read": ToolDefinition(name="read", effect=Effect.READ), "pay": ToolDefinition(name="pay", effect=Effect.UNSAFE)}
AGENTS = {"clerk": AgentDefinition(name="clerk", build="b1", tools=["read", "pay"], agents=["clerk"])}


@dataclass
class Member:
    """One run of the tree: its state, its log, and what its worker may still begin on its own."""

    state: RunState | None = None
    log: list[ev.Event] = field(default_factory=list)
    allowance: int = 0
    local: int = 0
    """Local steps that were begun and not told."""
    calls: int = 0


class Forest:
    """`begun` is what has really been used or may be: every tool call that was sent, every local step that was begun."""

    def __init__(self, budget: Budget) -> None:
        self.now = 1_000.0
        self.runs: dict[RunId, Member] = {}
        self.mail: list[AnyMessage] = []
        self.sent: dict[tuple[RunId, CallId], Amount] = {}
        """Calls on the road with what they reserve."""
        self.begun: Amount = NOTHING
        self.count = 0
        self.tell(mb.StartRun(run_id=ROOT, agent="clerk", input=Raw(b"1"), budget=budget))

    def tell(self, message: AnyMessage, run_id: RunId | None = None) -> Decision:
        to: RunId = message.run_id if run_id is None else run_id  # type: ignore[union-attr]
        member = self.runs.setdefault(to, Member())
        decision = decide(member.state, message, Env(now=self.now, tools=TOOLS, agents=AGENTS))
        if not decision.events:
            return decision
        if member.state is None:
            assert isinstance(message, mb.StartRun)
            member.state = RunState(run_id=to, agent="clerk", correlation_id=to)
        state, first, cause = member.state, member.state.seq + 1, decision.cause
        for data in decision.events:
            evolve(state, state.seq + 1, self.now, data, cause)
            member.log.append(self._recorded(state, data, cause))
            cause = ""
        for offset, data in enumerate(decision.events):
            for effect in react(state, first + offset, data):
                self._take(member, state, effect)
        return decision

    def _take(self, member: Member, state: RunState, effect: fx.AnyEffect) -> None:
        match effect:
            case fx.SendMail():
                self.mail.append(effect.mail)
            case fx.SendTool() if (state.run_id, effect.call_id) not in self.sent:
                call = state.calls[effect.call_id]
                self.sent[state.run_id, effect.call_id] = call.reserve
                self.begun = plus(self.begun, plus((1, 0, 0), call.reserve))
            case fx.Activate() if state.steps_left is not None:
                member.allowance = max(0, state.steps_left - member.local)
            case _:
                pass

    def deliver(self, index: int, *, keep: bool = False) -> None:
        """One of the messages on the way arrives; with `keep` it will come again."""
        message = self.mail[index] if keep else self.mail.pop(index)
        self.tell(message)

    def settle(self) -> None:
        """Everything on the way arrives."""
        for _ in range(10_000):
            if not self.mail:
                return
            self.deliver(0)
        raise AssertionError("messages between runs never end")

    def advance(self, run_id: RunId, *items: cmd.AnyItem) -> Decision:
        """Says, as workers do, how many steps run there that nobody was told of. With none its lease is over: it waits to be activated."""
        state, running = self.state(run_id), self.runs[run_id].local
        if not running:
            self.runs[run_id].allowance = 0
        message = mb.Advance(
            run_id=run_id, agent="clerk", worker="w1", build="b1", token=Token(1, 1), base=state.digest,
            seen=state.outside, running=running, items=Raw(encode(list(items))),
        )  # fmt: skip
        return self.tell(message)

    def calls(self, run_id: RunId, tool: str = "read", *, reserve: Usage | None = None) -> CallId:
        call_id = self._next()
        item = cmd.CallTool(seen=self.state(run_id).outside, id=call_id, tool=tool, args=Raw(encode(self.count)), reserve=reserve)
        self._spend(run_id)
        self.advance(run_id, item)
        return call_id

    def child(self, run_id: RunId, budget: Budget | None = None) -> RunId:
        call_id = self._next()
        self._spend(run_id)
        self.advance(run_id, cmd.StartChild(seen=self.state(run_id).outside, id=call_id, agent="clerk", input=Raw(b"1"), budget=budget))
        call = self.state(run_id).calls[call_id]
        assert call.child is not None
        return call.child

    def _spend(self, run_id: RunId) -> None:
        """A worker counts calls, too, in what it was leased."""
        self.runs[run_id].allowance = max(0, self.runs[run_id].allowance - 1)

    def answer(self, run_id: RunId, call_id: CallId, usage: Usage | None = None) -> None:
        """A call on the road succeeds; what it used instead of what it reserved counts."""
        reserve = self.sent.pop((run_id, call_id))
        if usage is not None:
            used = amount(usage)
            self.begun = plus(self.begun, (0, used[1] - reserve[1], used[2] - reserve[2]))
        self.tell(mb.ToolSucceeded(run_id=run_id, call_id=call_id, attempt=1, result=Raw(b"2"), usage=usage))

    def begin_local(self, run_id: RunId) -> bool:
        """The worker begins a step within its lease, and tells nobody yet."""
        member = self.runs[run_id]
        if member.allowance <= 0 or self.state(run_id).paused:
            return False
        member.allowance -= 1
        member.local += 1
        self.begun = plus(self.begun, (1, 0, 0))
        return True

    def tell_local(self, run_id: RunId) -> None:
        """The worker tells of all its local steps."""
        member, state = self.runs[run_id], self.state(run_id)
        items = [cmd.FinishStep(seen=state.outside, id=self._next(), name="s", at=1.0, result=Raw(b"1")) for _ in range(member.local)]
        member.local = 0
        self.advance(run_id, *items)

    def state(self, run_id: RunId) -> RunState:
        state = self.runs[run_id].state
        assert state is not None
        return state

    def open(self) -> list[RunId]:
        return [run_id for run_id, member in self.runs.items() if member.state is not None and not member.state.terminal]

    def check_folds(self) -> None:
        """The log alone gives the live state, also by way of its stored form."""
        for member in self.runs.values():
            if member.state is not None:
                assert encode_state(fold(member.log)) == encode_state(member.state)
                assert encode_state(decode_state(encode_state(member.state))) == encode_state(member.state)

    def _next(self) -> CallId:
        self.count += 1
        return CallId(f"0:{self.count}")

    def _recorded(self, state: RunState, data: ev.Data, cause: str) -> ev.Event:
        return ev.Event(
            run_id=state.run_id, seq=state.seq, type=str(type(data).__struct_config__.tag), agent="clerk", correlation_id=state.run_id,
            recorded_at=format_time(self.now), cause=cause, data=Raw(encode(data)),
        )  # fmt: skip
