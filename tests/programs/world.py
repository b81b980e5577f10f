"""Lives one program: the real core decides, workers' turns end in trouble, tools and people answer in the order of a clock.

In the calm order everything happens when it is due, and time stands still while a worker dies and its run is taken up elsewhere: so
a life with crashes must leave the very same journal as one without. With `Troubles.order` anything may come before anything else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Raw

from tests.programs import kit
from tests.programs.calendar import ANSWER, DELIVER, PEOPLE, TIMER, WAKE, Calendar
from tests.programs.gateway import Gateway
from tests.programs.hosts import Close, Here, Host, Open, Replay, agents_of
from tests.programs.runs import Run
from tests.programs.tree import Program
from tests.programs.trouble import Troubles
from tests.programs.worker import Slot
from waypost.execution import EffectResult
from waypost_core import dispatch
from waypost_core import effects as fx
from waypost_core.messages import AnyMessage, Env, TimersDue
from waypost_core.react import outstanding
from waypost_proto import mailbox as mb
from waypost_proto.codec import encode
from waypost_proto.ids import CallId, RunId
from waypost_proto.registry import AgentDefinition
from waypost_proto.values import Budget, Failure, Token

ROOT = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
MOST_HAPPENINGS = 3_000
"""Far more than a program of this size can need: past it something goes round in circles."""
PATIENCE = 10_000.0
"""Seconds after which the owner cancels: long after everything that could still happen."""
TOOL_DEFINITIONS = {tool.name: tool.definition() for tool in kit.TOOLS}


class World:
    """One life of one program. `hosts` are taken in turn, each time a run is taken up again."""

    def __init__(
        self,
        program: Program,
        troubles: Troubles | None = None,
        hosts: Sequence[Host] = (),
        *,
        people: Sequence[tuple[float, str]] = (),
        changing: bool = False,
        swap: tuple[str, str] | None = None,
    ) -> None:
        """`people`: at which time somebody pauses (and two seconds later resumes), resumes or cancels the run.

        `changing`: a local step that is started again gives another result, so that only the recorded one may be seen.
        `swap`: at the journal with this digest the root's worker is lost, and the next one has this source, which does not fit.
        """
        self.program = program
        self.source = program.source()
        self.troubles = troubles or Troubles()
        self.calendar = Calendar()
        self.runs: dict[RunId, Run] = {}
        self.step_ends: dict[tuple[str, str], float] = {}
        self.steps_started: dict[tuple[str, str], int] = {}
        self.gateway = Gateway(self.calendar, self.tell)
        self.swap = swap
        self._plans = people
        self._handlers: dict[type, Callable[[Run, Any], None]] = {
            fx.Activate: lambda run, _: self._wake(run),
            fx.SendTool: self.gateway.send,
            fx.SendMail: lambda run, effect: self._deliver(effect.to, effect.agent, effect.mail, run.run_id),
            fx.SetTimer: self._set_timer,
            fx.ClearTimer: lambda run, effect: self.calendar.forget(TIMER, run.run_id, effect.timer_id),
            fx.GrantPermit: self.gateway.permit,
            fx.RevokeCall: lambda run, effect: self.gateway.revoke(run, effect.call_id),
            fx.RevokeRun: lambda run, _: self.gateway.revoke(run),
            fx.OpenApproval: self.gateway.ask,
            fx.CloseApproval: lambda *_: None,
            fx.StopWork: self._stop,
            fx.Notify: lambda run, _: self._notice(run),
        }
        self._changing = changing
        self._hosts = hosts or (Here(),)
        self._slots: dict[RunId, Slot] = {}
        self._zombies: list[Slot] = []
        self._inbox: dict[tuple[str, RunId], deque[AnyMessage]] = {}
        self._opened = 0
        self._agents = {
            name: AgentDefinition(name=name, build="b1", tools=sorted(agent.policy.tools), agents=sorted(agent.policy.agents))
            for name, agent in agents_of(self.source).items()
        }

    @property
    def root(self) -> Run:
        return self.runs[ROOT]

    def live(self) -> World:
        """From the start to the end; a run that waits for nothing that will come is cancelled by its owner."""
        self._people()
        for _ in range(MOST_HAPPENINGS):
            if not self.calendar:
                break
            self.calendar.take(self.troubles.number()).happen()
            if self.root.state.terminal:
                self.calendar.forget_run(PEOPLE, ROOT)
        else:
            raise AssertionError("it never comes to an end")
        for slot in [*self._slots.values(), *self._zombies]:
            slot.close()
        for run in self.runs.values():
            assert run.state.terminal, f"run {run.run_id} of {run.agent} outlives its parent"
            run.check_fold()
        return self

    def _people(self) -> None:
        budget = Budget(max_steps=self.program.max_steps) if self.program.max_steps is not None else None
        start = mb.StartRun(run_id=ROOT, agent="main", input=Raw(b"null"), budget=budget)
        self.runs[ROOT] = Run(ROOT, "main")
        self.tell(self.root, start)
        give_up = mb.Cancel(run_id=ROOT, request_id="give-up", by="owner", reason="it waits for ever")
        self.calendar.plan(self.calendar.now + PATIENCE, PEOPLE, ROOT, "give-up", lambda: self._give_up(give_up))
        for number, (at, name) in enumerate(self.program.signals):
            message = mb.Signal(run_id=ROOT, request_id=f"s{number}", name=name, payload=Raw(encode(f"{name}{number}")))
            self.calendar.plan(self.calendar.now + at, PEOPLE, ROOT, f"signal {number}", partial(self.tell, self.root, message))

        for number, (at, what) in enumerate(self._plans):
            self._control(number, at, what)
            if what == "pause":
                self._control(number, at + 2, "resume")

    def _give_up(self, message: mb.Cancel) -> None:
        """The owner cancels. If that is because nothing else will happen, then every run that lives must truly wait."""
        if not self.calendar:
            for run in self.runs.values():
                if not (run.state.terminal or run.state.paused or run.state.ending is not None):
                    self._check_waiting(run)
        self.tell(self.root, message)

    def _check_waiting(self, run: Run) -> None:
        host, number = self._hosts[0], -1
        host.ask(number, Open(self.source, run.agent, run.run_id, None))
        answer = host.ask(number, Replay(list(run.journal), run.state.seen))
        host.ask(number, Close())
        assert not answer.items, f"{run.agent} was forgotten: its code asks for {answer.items}"
        assert not answer.effects, f"{run.agent} was forgotten: its code waits for {answer.effects}"

    def _control(self, number: int, at: float, what: str) -> None:
        kind = {"pause": mb.Pause, "resume": mb.Resume, "cancel": mb.Cancel}[what]
        message = kind(run_id=ROOT, request_id=f"{what} {number}", by="owner")
        self.calendar.plan(self.calendar.now + at, PEOPLE, ROOT, f"{what} {number}", lambda: self.tell(self.root, message))

    # -- the coordinator

    def tell(self, run: Run, message: AnyMessage) -> None:
        """Decide, commit, and put on the road what follows."""
        _, effects = run.tell(message, self._env(run, message))
        self._carry_out(run, effects)

    def advance(self, run: Run, message: mb.Advance) -> bool:
        decision, effects = run.tell(message, self._env(run, message))
        assert decision.accepted or decision.rejected
        self._carry_out(run, effects)
        if decision.accepted and run.state.outside > run.state.seen:
            self._wake(run)
        return decision.accepted is not None

    def _env(self, run: Run, message: AnyMessage) -> Env:
        return Env(now=self.calendar.now, tools=TOOL_DEFINITIONS, agents=self._agents)

    def _carry_out(self, run: Run, effects: Sequence[fx.AnyEffect]) -> None:
        for effect in effects:
            self._handlers[type(effect)](run, effect)

    def _stop(self, run: Run, effect: fx.StopWork) -> None:
        if effect.why == "ended":
            self._drop(run)
        elif effect.why == "paused" and run.run_id in self._slots:
            self._slots[run.run_id].paused = True

    def _notice(self, run: Run) -> None:
        """The supervisor of a run that is paused raises its limit, or deploys what fits, and resumes it a second later."""
        state = run.state
        if run is self.root and state.paused and state.pause_reason:  # its children follow it
            limit = state.budget.max_steps
            budget = Budget(max_steps=limit + 2) if limit is not None else None
            message = mb.Resume(run_id=run.run_id, request_id=f"resume {state.seq}", by="supervisor", budget=budget)
            self.calendar.plan(self.calendar.now + 1, PEOPLE, run.run_id, "resume", lambda: self.tell(run, message))

    def _set_timer(self, run: Run, effect: fx.SetTimer) -> None:
        due = TimersDue((effect.timer_id,))
        self.calendar.plan(effect.due_at, TIMER, run.run_id, effect.timer_id, lambda: self.tell(run, due))

    def _deliver(self, run_id: RunId, agent: str, mail: AnyMessage, sender: str) -> None:
        """Messages from one run to another are rows of the inbox: they arrive in order, and no broker can lose them."""
        box = self._inbox.setdefault((sender, run_id), deque())
        box.append(mail)

        def arrived() -> None:
            while box:
                message = box.popleft()
                if run_id not in self.runs and isinstance(message, mb.StartRun):
                    self.runs[run_id] = Run(run_id, agent)
                if run_id in self.runs:  # else: nobody knows it, and the coordinator says so
                    self.tell(self.runs[run_id], message)

        self.calendar.plan(self.calendar.now, DELIVER, run_id, f"from {sender}", arrived)

    def wipe(self) -> None:
        """JetStream has lost everything: what is outstanding follows from the states."""
        self.calendar.lose_road()
        for run in self.runs.values():
            self._carry_out(run, outstanding(run.state))

    # -- workers

    def _wake(self, run: Run) -> None:
        self.calendar.plan(self.calendar.now, WAKE, run.run_id, "", lambda: self._activate(run), on_road=True)

    def _activate(self, run: Run) -> None:
        if not run.state.wants_worker:
            return
        slot = self._slots.get(run.run_id)
        if slot is None:
            host = self._hosts[self._opened % len(self._hosts)]
            self._opened += 1
            slot = self._slots[run.run_id] = Slot(self, run, host, self._source_for(run), f"w{self._opened}")
        token = Token(epoch=1, counter=self._opened)
        slot.activate(dispatch.activation(run.state, run.fresh_entries(), build="b1", token=token, now=self.calendar.now))

    def _source_for(self, run: Run) -> str:
        if self.swap is None or run is not self.root or run.state.digest != self.swap[0]:
            return self.source
        (_, source), self.swap = self.swap, None
        return source

    def lost(self, slot: Slot, *, wiped: bool = False, zombie: bool = False) -> None:
        """The coordinator gives the run to another worker. A zombie does not know that, and goes on."""
        if zombie:
            if self._slots.get(slot.run.run_id) is slot:
                self._zombies.append(self._slots.pop(slot.run.run_id))
        else:
            self._discard(slot)
        if wiped:
            self.wipe()
        elif slot.run.state.wants_worker:
            self._wake(slot.run)

    def late(self, slot: Slot, message: mb.Advance) -> None:
        run = slot.run
        self.calendar.plan(self.calendar.now + 1, DELIVER, run.run_id, f"late {slot.name}", partial(self.advance, run, message))
        self.lost(slot)

    def result_of(self, run: Run, call_id: CallId, name: str) -> EffectResult:
        """How a step ends, by its name; with `changing` another each time it is started."""
        _, key, takes, fails = name.split("-")
        error = Failure(type="RuntimeError", message=f"step {key}") if int(fails) else None
        value = kit.worked(int(key))
        if self._changing:
            value += f", start {self.steps_started[run.run_id, call_id]}"
        return EffectResult(call_id=call_id, at=self.calendar.now, duration_seconds=float(takes), result=encode(value), error=error)

    def _drop(self, run: Run) -> None:
        slot = self._slots.get(run.run_id)
        if slot is not None:
            self._discard(slot)

    def _discard(self, slot: Slot) -> None:
        if self._slots.get(slot.run.run_id) is slot:
            del self._slots[slot.run.run_id]
        slot.close()
        for call_id in slot.in_flight:
            self.calendar.forget(ANSWER, slot.run.run_id, f"step {call_id} of {slot.name}")


__all__ = ["ROOT", "World"]
