"""One execution under test, with short words for what happens to it."""

from __future__ import annotations

from typing import Any

from msgspec import Raw

from tests.unit.waypost.execution.world import RUN, START, Recorder, entry
from waypost import Agent
from waypost.execution import EffectResult, Execution, LocalEffect
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode, encode
from waypost_proto.ids import child_run_id
from waypost_proto.values import Failure, RunStatus


class Rig:
    """Feeds one run by hand. Every item is recorded as the coordinator would, so that `again` can replay it."""

    def __init__(self, agent: Agent[..., Any], value: object = None, *, steps_left: int | None = None, metered: bool = False) -> None:
        self.agent = agent
        self.effects: dict[str, LocalEffect] = {}
        self.recorder = Recorder()
        self.execution = Execution(agent, RUN, start_effect=self._start, correlation_id="case-7", tenant="acme", steps_left=steps_left)
        self.execution.metered(metered)
        self.items: list[Any] = []
        self.happens(ev.RunStarted(input=Raw(encode(value))))

    def _start(self, effect: LocalEffect) -> None:
        assert effect.call_id not in self.effects
        self.effects[effect.call_id] = effect

    def happens(self, data: ev.AnyData, *, at: float | None = None) -> list[Any]:
        """An outside event; the items that it led to."""
        self.recorder.clock = at if at is not None else self.recorder.clock + 1.0
        if isinstance(data, ev.SignalReceived):
            assert not isinstance(data.payload, type(ev.UNSET))
            made = self.recorder.receive(data.name, data.payload)
        else:
            made = self.recorder.append(data)
            self.recorder.open.pop(getattr(data, "call_id", ""), None)
        self.execution.feed([made])
        return self.take()

    def take(self) -> list[Any]:
        self.items = self.execution.take_items()
        if not self.execution.diverged:
            self.recorder.accept(self.items, self.execution.seen)
        return self.items

    def answer(self, call_id: str, value: object) -> list[Any]:
        return self.happens(ev.ToolCallCompleted(call_id=call_id, tool="any", attempt=1, result=Raw(encode(value))))

    def refuse(self, call_id: str, kind: str, message: str = "no") -> list[Any]:
        return self.happens(ev.ToolCallFailed(call_id=call_id, tool="any", attempt=1, error=Failure(type=kind, message=message)))

    def child_answers(self, call_id: str, value: object) -> list[Any]:
        return self.happens(ev.ChildCompleted(call_id=call_id, child_run_id=child_run_id(RUN, call_id), result=Raw(encode(value))))

    def child_fails(self, call_id: str, status: RunStatus = RunStatus.FAILED) -> list[Any]:
        failure = Failure(type="Broken", message="child broke")
        return self.happens(ev.ChildFailed(call_id=call_id, child_run_id=child_run_id(RUN, call_id), status=status, error=failure))

    def signal(self, name: str, value: object) -> list[Any]:
        return self.happens(ev.SignalReceived(name=name, payload=Raw(encode(value))))

    def fire(self, call_id: str) -> list[Any]:
        return self.happens(ev.TimerFired(call_id=call_id))

    def finish(self, call_id: str, value: object = None, *, error: Failure | None = None, at: float = START) -> list[Any]:
        self.effects.pop(call_id)
        self.execution.finish_effect(EffectResult(call_id=call_id, at=at, result=encode(value), error=error))
        return self.take()

    def again(self, agent: Agent[..., Any] | None = None, **options: Any) -> Rig:
        """The same run on another worker: a new execution, replayed from the journal. `agent`: other code."""
        other = object.__new__(Rig)
        other.agent = agent or self.agent
        other.effects = {}
        other.recorder = self.recorder
        other.execution = Execution(other.agent, RUN, start_effect=other._start, correlation_id="case-7", tenant="acme", **options)
        other.execution.replay(self.recorder.log, seen=self.recorder.seen)
        other.take()
        return other

    @property
    def result(self) -> Any:
        """What the run returned."""
        (ending,) = [i for i in self.items if isinstance(i, cmd.CompleteRun)]
        return decode(object, ending.result)

    @property
    def failure(self) -> Failure:
        """What the run failed with."""
        (ending,) = [i for i in self.items if isinstance(i, cmd.FailRun)]
        error: Failure = ending.error
        return error

    @property
    def difference(self) -> tuple[str, str]:
        """What a divergence reported: expected, found."""
        (report,) = self.items
        assert isinstance(report, cmd.ReportDivergence)
        return report.expected, report.found


__all__ = ["RUN", "START", "Rig", "entry"]
