"""One reasoning run under test, with short words for what happens to it. Every item is recorded as the coordinator would."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Raw

from tests.unit.waypost.execution.world import RUN, Recorder
from waypost.execution import Beginning, EffectResult, LocalEffect, failure_of
from waypost.reasoning.agent import ReasoningAgent
from waypost.reasoning.execution import ReasoningExecution
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.ids import child_run_id
from waypost_proto.values import Failure, RunStatus


class Rig:
    def __init__(self, agent: ReasoningAgent[Any, Any], value: object = "go", *, steps_left: int | None = None) -> None:
        self.agent = agent
        self.recorder = Recorder()
        self.begin(agent, steps_left)
        self.happens(ev.RunStarted(input=Raw(encode(value))))

    def begin(self, agent: ReasoningAgent[Any, Any], steps_left: int | None = None) -> None:
        self.effects: dict[str, LocalEffect] = {}
        self.items: list[Any] = []
        made = agent.execution(Beginning(run_id=RUN, start_effect=self._start, steps_left=steps_left))
        assert isinstance(made, ReasoningExecution)
        self.execution = made

    def _start(self, effect: LocalEffect) -> None:
        assert effect.call_id not in self.effects
        self.effects[effect.call_id] = effect

    def happens(self, data: ev.AnyData) -> list[Any]:
        """An outside event; the items that it led to."""
        self.recorder.clock += 1.0
        self.recorder.open.pop(getattr(data, "call_id", ""), None)
        self.execution.feed([self.recorder.append(data)])
        return self.take()

    def take(self) -> list[Any]:
        self.items = self.execution.take_items()
        if not self.execution.diverged:
            self.recorder.accept(self.items, self.execution.seen)
        return self.items

    def think(self, call_id: str | None = None) -> list[Any]:
        """Run the model call that was asked for, and report it."""
        return asyncio.run(self.think_here(call_id))

    async def think_here(self, call_id: str | None = None) -> list[Any]:
        """The same, on the loop of the test: for models with connections."""
        effect = self.effects.pop(call_id or next(iter(self.effects)))
        result, error = None, None
        try:
            result = await asyncio.create_task(effect.run())
        except Exception as raised:  # noqa: BLE001 - as the worker does
            error = failure_of(raised)
        meter = effect.meter
        done = EffectResult(
            call_id=effect.call_id,
            at=self.recorder.clock,
            result=result,
            error=error,
            usage=meter.usage,
            fingerprint=meter.fingerprint,
            model=meter.model,
        )
        self.execution.finish_effect(done)
        return self.take()

    def answer(self, call_id: str, value: object, **fields: Any) -> list[Any]:
        """The gateway's, a child's."""
        if isinstance(self.recorder.open.get(call_id), cmd.StartChild):
            child = child_run_id(RUN, call_id)
            return self.happens(ev.ChildCompleted(call_id=call_id, child_run_id=child, result=Raw(encode(value)), **fields))
        return self.happens(ev.ToolCallCompleted(call_id=call_id, tool="any", attempt=1, result=Raw(encode(value)), **fields))

    def refuse(self, call_id: str, kind: str = "ToolFailed", message: str = "no") -> list[Any]:
        failure = Failure(type=kind, message=message)
        if isinstance(self.recorder.open.get(call_id), cmd.StartChild):
            child = child_run_id(RUN, call_id)
            return self.happens(ev.ChildFailed(call_id=call_id, child_run_id=child, status=RunStatus.FAILED, error=failure))
        return self.happens(ev.ToolCallFailed(call_id=call_id, tool="any", attempt=1, error=failure))

    def instruct(self, text: str, by: str = "") -> list[Any]:
        return self.happens(ev.InstructionAdded(text=text, by=by))

    def again(self, agent: ReasoningAgent[Any, Any] | None = None) -> Rig:
        """The same run on another worker, from its journal; with another definition, if one is given."""
        other = object.__new__(Rig)
        other.agent = agent or self.agent
        other.recorder = self.recorder
        other.begin(other.agent)
        other.execution.replay(self.recorder.log, self.recorder.seen)
        other.take()
        return other

    # -- what tests ask

    @property
    def kinds(self) -> list[str]:
        return [f"{item.__struct_config__.tag} {getattr(item, 'id', '')}".strip() for item in self.items]

    @property
    def result(self) -> Any:
        (ending,) = [item for item in self.items if isinstance(item, cmd.CompleteRun)]
        return msgspec.json.decode(ending.result)

    @property
    def failure(self) -> Failure:
        (ending,) = [item for item in self.items if isinstance(item, cmd.FailRun)]
        error: Failure = ending.error
        return error

    def recorded(self, kind: str) -> list[Any]:
        """The data of the log's entries of a type."""
        return [msgspec.json.decode(entry.data) for entry in self.recorder.log if entry.type == kind]

    def message_of(self, call_id: str) -> str:
        """What a failed step says."""
        (text,) = [data["error"]["message"] for data in self.recorded("step_failed") if data["call_id"] == call_id]
        return str(text)
