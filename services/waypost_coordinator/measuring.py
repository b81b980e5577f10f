"""Metrics of runs and their steps, and a log line for each reasoning step: from events, once they are committed.

A batch that was not committed is not measured, and one that was is measured once: a crash in between loses a batch of numbers and doubles
none, and neither a replay nor a repeated message counts anything (ADR 0272). A dictionary look-up for most events, a few
microseconds for those that are measured. Changes nothing that decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from waypost_coordinator.batch import Batch
from waypost_coordinator.course import OpenStep, Thought
from waypost_coordinator.live import LiveRun
from waypost_coordinator.measures import Measures
from waypost_coordinator.step_lines import StepLines
from waypost_core import genai
from waypost_core.budgets import known
from waypost_core.state import RunState
from waypost_io.genai_metrics import MODALITY_UNKNOWN
from waypost_io.metrics import MAX_LABEL_VALUES, Metrics
from waypost_proto import events as ev
from waypost_proto.models import ModelCall
from waypost_proto.usage import MICROS_PER_USD, Usage, micros_of

TOOLS_CHOSEN: Final = "tool_calls"
"""`ModelCall.finish` of an answer that chose tools: their lines tell of it."""


class Measuring:
    """Call `committed` after every commit."""

    def __init__(self, metrics: Metrics, lines: StepLines) -> None:
        self._measures = Measures(metrics)
        self._lines = lines
        self._agents: set[str] = set()

    def committed(self, batch: Batch) -> None:
        """Measure what a commit made true."""
        for live, at, data in batch.told:
            if live.state.agent not in self._agents:
                self._expect(live.state.agent)
            _HANDLERS[type(data)](self, live, at, data)

    def _expect(self, agent: str) -> None:
        if len(self._agents) < MAX_LABEL_VALUES:
            self._agents.add(agent)
        self._measures.expect(agent)

    # -- runs

    def _started(self, live: LiveRun, at: float, data: ev.RunStarted) -> None:  # noqa: ARG002 - one signature for all
        agent = live.state.agent
        self._measures.started.labels(agent).inc()
        if data.parent is None and data.budget.max_cost_usd is not None:
            self._measures.granted.labels(agent).inc(data.budget.max_cost_usd)

    def _forked(self, live: LiveRun, at: float, data: ev.RunForked) -> None:  # noqa: ARG002
        agent = live.state.agent
        self._measures.started.labels(agent).inc()
        if data.budget.max_cost_usd is not None:
            self._measures.granted.labels(agent).inc(data.budget.max_cost_usd)

    def _ended(self, live: LiveRun, at: float, data: ev.RunCompleted | ev.RunFailed | ev.RunCancelled) -> None:
        state, measures = live.state, self._measures
        status = {ev.RunCompleted: "completed", ev.RunFailed: "failed"}.get(type(data), "cancelled")
        error = data.error.type if isinstance(data, ev.RunFailed) else "" if status == "completed" else status
        measures.ended.labels(state.agent, status).inc(1, state.run_id)
        seconds = max(at - state.started_at, 0.0)
        measures.invoke_agent.labels(state.agent, error).observe(seconds, state.run_id, at)
        if state.parent is None:
            measures.workflow.labels(state.agent, error).observe(seconds, state.run_id, at)
        measures.inference_calls.labels(state.agent).observe(state.model_calls, state.run_id, at)
        measures.tool_calls.labels(state.agent).observe(state.tool_calls, state.run_id, at)
        self._used(state, at)

    def _used(self, state: RunState, at: float) -> None:
        """How much of each limit the run and its children used."""
        budget = state.budget
        if budget.max_steps is None and budget.max_tokens is None and budget.max_cost_usd is None:
            return
        steps, tokens, micros = known(state)
        limits = (("max_steps", steps, budget.max_steps), ("max_tokens", tokens, budget.max_tokens))
        for name, value, limit in limits:
            if limit is not None:
                self._measures.used.labels(state.agent, name).observe(value / limit, state.run_id, at)
        if budget.max_cost_usd is not None:
            self._measures.used.labels(state.agent, "max_cost_usd").observe(micros / micros_of(budget.max_cost_usd), state.run_id, at)

    def _paused(self, live: LiveRun, at: float, data: ev.RunPaused) -> None:  # noqa: ARG002
        self._measures.pauses.labels(live.state.agent).inc(1, live.state.run_id)

    # -- local steps and models

    def _step(self, live: LiveRun, at: float, data: ev.StepCompleted | ev.StepFailed) -> None:
        state, model = live.state, data.model
        kind = "local" if model is None else "model"
        failed = isinstance(data, ev.StepFailed)
        self._measures.steps.labels(state.agent, kind, "failed" if failed else "completed").inc()
        self._measures.seconds.labels(state.agent, kind).observe(data.duration_seconds, state.run_id, at)
        self._spent(state.agent, data.usage)
        if model is not None:
            self._model(live, at, data, model)

    def _model(self, live: LiveRun, at: float, data: ev.StepCompleted | ev.StepFailed, model: ModelCall) -> None:
        state, measures = live.state, self._measures
        names = (genai.CHAT, model.provider, model.model, model.answered_by)
        error = data.error.type if isinstance(data, ev.StepFailed) else ""
        measures.inference.labels(*names, error).observe(data.duration_seconds, state.run_id, at)
        if model.first_token_seconds is not None:
            measures.first_chunk.labels(*names).observe(model.first_token_seconds, state.run_id, at)
        for family, count in (
            (measures.input_tokens, model.input_tokens),
            (measures.output_tokens, model.output_tokens),
            (measures.cached_tokens, model.cached_tokens),
            (measures.reasoning_tokens, model.reasoning_tokens),
        ):
            if count:
                family.labels(*names, MODALITY_UNKNOWN).inc(count)
        thought = Thought(model.intent, model.cost_micros)
        if model.finish == TOOLS_CHOSEN and not error:
            live.course.thought(data.call_id, thought)
        else:
            self._lines.step(
                state, data.call_id, tool="", status=error or model.finish or "completed", seconds=data.duration_seconds, thought=thought
            )

    # -- tools and children

    def _tool_requested(self, live: LiveRun, at: float, data: ev.ToolCallRequested) -> None:
        live.course.opened(data.call_id, at, data.because)

    def _tool_dispatched(self, live: LiveRun, at: float, data: ev.ToolCallDispatched) -> None:
        if (step := live.course.step(data.call_id)) is not None:
            step.sent_at = at

    def _tool_settled(self, live: LiveRun, at: float, data: ev.ToolCallCompleted | ev.ToolCallFailed | ev.ToolCallCancelled) -> None:
        state, measures = live.state, self._measures
        step = live.course.closed(data.call_id)
        outcome = {ev.ToolCallCompleted: "completed", ev.ToolCallFailed: "failed"}.get(type(data), "cancelled")
        measures.calls.labels(state.agent, data.tool, outcome).inc()
        measures.steps.labels(state.agent, "tool", outcome).inc()
        if step is not None:
            measures.seconds.labels(state.agent, "tool").observe(max(at - step.at, 0.0), state.run_id, at)
        error = data.error.type if isinstance(data, ev.ToolCallFailed) else ""
        seconds = _execution(step, at, data)
        if seconds is not None and outcome != "cancelled":
            measures.execute_tool.labels(data.tool, state.agent, error).observe(seconds, state.run_id, at)
        if not isinstance(data, ev.ToolCallCancelled):
            self._spent(state.agent, data.usage)
        self._line(live, data.call_id, data.tool, error or outcome, seconds, step)

    def _attempt_failed(self, live: LiveRun, at: float, data: ev.ToolAttemptFailed) -> None:  # noqa: ARG002
        self._measures.failures.labels(data.tool, data.error.type).inc(1, live.state.run_id)

    def _deferred(self, live: LiveRun, at: float, data: ev.ToolCallDeferred) -> None:  # noqa: ARG002
        self._measures.deferrals.labels(data.tool, data.why).inc()

    def _in_doubt(self, live: LiveRun, at: float, data: ev.ToolCallInDoubt) -> None:
        self._measures.doubts.labels(live.state.agent, data.tool).inc(1, live.state.run_id)
        step = live.course.step(data.call_id)
        self._line(live, data.call_id, data.tool, "in_doubt", None if step is None else at - step.sent_at, step)

    def _line(self, live: LiveRun, call_id: str, tool: str, status: str, seconds: float | None, step: OpenStep | None) -> None:
        thought = None if step is None or step.because is None else live.course.thought_of(step.because)
        self._lines.step(live.state, call_id, tool=tool, status=status, seconds=seconds, thought=thought)

    def _child_requested(self, live: LiveRun, at: float, data: ev.ChildRequested) -> None:
        live.course.opened(data.call_id, at, data.because)

    def _child_ended(self, live: LiveRun, at: float, data: ev.ChildCompleted | ev.ChildFailed) -> None:
        state = live.state
        step = live.course.closed(data.call_id)
        outcome = "completed" if isinstance(data, ev.ChildCompleted) else data.status.value
        self._measures.steps.labels(state.agent, "child", outcome).inc()
        if step is not None:
            self._measures.seconds.labels(state.agent, "child").observe(max(at - step.at, 0.0), state.run_id, at)
            if step.because is not None:
                self._line(live, data.call_id, "", outcome, at - step.at, step)

    # -- limits

    def _tripped(self, live: LiveRun, at: float, data: ev.BreakerTripped) -> None:  # noqa: ARG002
        self._measures.breakers.labels(live.state.agent, data.limit).inc(1, live.state.run_id)

    def _warned(self, live: LiveRun, at: float, data: ev.LimitWarning) -> None:  # noqa: ARG002
        self._measures.warnings.labels(live.state.agent, data.limit).inc(1, live.state.run_id)

    def _looped(self, live: LiveRun, at: float, data: ev.LoopDetected) -> None:  # noqa: ARG002
        self._measures.loops.labels(live.state.agent, data.kind).inc(1, live.state.run_id)

    def _near(self, live: LiveRun, at: float, data: ev.DeadlineNear) -> None:  # noqa: ARG002
        self._measures.deadlines.labels(live.state.agent).inc(1, live.state.run_id)

    # -- people

    def _asked(self, live: LiveRun, at: float, data: ev.ApprovalRequested | ev.QuestionAsked) -> None:
        self._measures.approvals.labels(live.state.agent, _OUTCOMES[type(data)]).inc()
        live.course.opened(_people_key(data), at)

    def _decided(self, live: LiveRun, at: float, data: Any) -> None:
        self._measures.approvals.labels(live.state.agent, _OUTCOMES[type(data)]).inc(1, live.state.run_id)
        asked = live.course.closed(_people_key(data))
        if asked is not None:
            self._measures.people.labels(live.state.agent).observe(max(at - asked.at, 0.0), live.state.run_id, at)
        if isinstance(data, ev.ApprovalGranted) and (step := live.course.step(data.call_id)) is not None:
            step.sent_at = at

    def _spent(self, agent: str, usage: Usage | None) -> None:
        if usage is not None:
            if usage.tokens:
                self._measures.tokens.labels(agent).inc(usage.tokens)
            if usage.cost_micros:
                self._measures.cost.labels(agent).inc(usage.cost_micros / MICROS_PER_USD)


def _execution(step: OpenStep | None, at: float, data: ev.ToolCallCompleted | ev.ToolCallFailed | ev.ToolCallCancelled) -> float | None:
    """How long the last attempt took: as the gateway says, or since it went on the road. None: nobody knows."""
    if isinstance(data, ev.ToolCallCompleted):
        return data.duration_seconds
    return None if step is None else max(at - step.sent_at, 0.0)


def _people_key(data: Any) -> str:
    key: str = data.question_id if hasattr(data, "question_id") else data.approval_id
    return key


_OUTCOMES: Final[dict[type, str]] = {
    ev.ApprovalRequested: "requested",
    ev.ApprovalGranted: "granted",
    ev.ApprovalDenied: "denied",
    ev.ApprovalExpired: "expired",
    ev.ApprovalEdited: "edited",
    ev.ApprovalEscalated: "escalated",
    ev.QuestionAsked: "asked",
    ev.QuestionAnswered: "answered",
    ev.QuestionUnanswered: "unanswered",
    ev.QuestionWithdrawn: "withdrawn",
}
_HANDLERS: Final[dict[type, Callable[[Measuring, LiveRun, float, Any], None]]] = {
    ev.RunStarted: Measuring._started,
    ev.RunForked: Measuring._forked,
    ev.RunCompleted: Measuring._ended,
    ev.RunFailed: Measuring._ended,
    ev.RunCancelled: Measuring._ended,
    ev.RunPaused: Measuring._paused,
    ev.StepCompleted: Measuring._step,
    ev.StepFailed: Measuring._step,
    ev.ToolCallRequested: Measuring._tool_requested,
    ev.ToolCallDispatched: Measuring._tool_dispatched,
    ev.ToolCallCompleted: Measuring._tool_settled,
    ev.ToolCallFailed: Measuring._tool_settled,
    ev.ToolCallCancelled: Measuring._tool_settled,
    ev.ToolAttemptFailed: Measuring._attempt_failed,
    ev.ToolCallDeferred: Measuring._deferred,
    ev.ToolCallInDoubt: Measuring._in_doubt,
    ev.ChildRequested: Measuring._child_requested,
    ev.ChildCompleted: Measuring._child_ended,
    ev.ChildFailed: Measuring._child_ended,
    ev.BreakerTripped: Measuring._tripped,
    ev.LimitWarning: Measuring._warned,
    ev.LoopDetected: Measuring._looped,
    ev.DeadlineNear: Measuring._near,
    ev.ApprovalRequested: Measuring._asked,
    ev.QuestionAsked: Measuring._asked,
    **{kind: Measuring._decided for kind in _OUTCOMES if kind not in (ev.ApprovalRequested, ev.QuestionAsked)},
}
MEASURED: Final = frozenset(_HANDLERS)
"""Types of the events that are measured."""
