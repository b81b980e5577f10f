"""The fold of a run's trace: the run itself, its activations, reasoning steps and pauses; it sends calls and waits to their families.

State is what is open, and counters: a trace does not grow with its run's history. Spans leave when they end. What begins is remembered
until then, so that `pending` can show it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from waypost_core import genai
from waypost_core.tracing import calls, course, waiting
from waypost_core.tracing.capture import NOTHING, Capture
from waypost_core.tracing.messaging import sent
from waypost_core.tracing.open import Activation, Call, Reasoning, Wait
from waypost_core.tracing.reading import DECODERS, TYPES, Stored, StoredStart, read_start
from waypost_core.tracing.shapes import shape_of_activation, shape_of_plan, shape_of_wait, shape_of_work_sent
from waypost_core.tracing.spans import Attributes, Kind, Span, SpanEvent, trace_id_of
from waypost_core.tracing.whole import run_span
from waypost_proto import events as ev
from waypost_proto.errors import BadMessage
from waypost_proto.ids import CallId, RunId, span_id
from waypost_proto.values import Mark

MAX_RUN_EVENTS: Final = 128
"""Events on a run's own span, as the OpenTelemetry SDKs limit them; what is past it is counted."""
MAX_REASONS: Final = 64
"""Reasoning steps that are remembered after they closed, for a call that names one late."""
MAX_UNREAD: Final = 1_024
HANDLERS: Final = {**course.HANDLERS, **calls.HANDLERS, **waiting.HANDLERS}


class _Known(NamedTuple):
    """What is to be done with a type of event: looked up once for each."""

    decode: Callable[[bytes], Stored[ev.Data]]
    handler: Callable[[RunTrace, int, int, Any, list[Span]], None] | None
    outside: bool
    from_worker: bool
    terminal: bool


_KNOWN: Final = {
    kind: _Known(
        decoder.decode,
        HANDLERS.get(TYPES[kind]),
        kind in ev.OUTSIDE,
        issubclass(TYPES[kind], ev.FromWorker),
        kind in ev.TERMINAL_TYPES,
    )
    for kind, decoder in DECODERS.items()
}
_STATUS = {"run_completed": "completed", "run_failed": "failed", "run_cancelled": "cancelled"}


class RunTrace:
    """One run's trace. `feed` it every event from the first; the spans it returns have ended and never change.

    `seq` is the last event fed. Feeding an event again, or one after a gap, raises `ValueError`.
    """

    def __init__(self, run_id: RunId, capture: Capture = NOTHING, *, prefix: str = "waypost") -> None:
        self.run_id = run_id
        self.capture = capture
        self.prefix = prefix
        self.trace_id = trace_id_of(run_id)
        self.root = span_id(run_id, 1)
        self.seq = 0
        self.started_us = self.last_us = 0
        self.start: StoredStart | None = None
        self.copied = 0
        """Up to this event a fork's log is its source's, whose trace has the spans."""
        self.agent = self.build = ""
        self.ended = self.paused = False
        self.calls: dict[CallId, Call] = {}
        self.waits: dict[str, Wait] = {}
        self.signals: dict[str, int] = {}
        self.reasons: dict[CallId, Reasoning] = {}
        self.steps: list[tuple[int, ev.StepCompleted | ev.StepFailed]] = []
        """Local steps of the advance that is being read; its last event says to which activation they belong."""
        self.unread: deque[int] = deque(maxlen=MAX_UNREAD)
        """What the worker has not read yet, by seq."""
        self.sent: Activation | None = None
        """The one that is not answered yet."""
        self.activation: Activation | None = None
        self.answered = b""
        """The span id of the activation that was last answered."""
        self.events: list[SpanEvent] = []
        self.dropped = self.model_calls = self.tool_calls = self.input_tokens = self.output_tokens = self.cost = 0
        self.trip: Attributes = {}
        self.tainted: tuple[str, ...] = ()

    def feed(self, seq: int, kind: str, at_us: int, body: bytes) -> list[Span]:
        """The spans that end with event number `seq`, recorded at `at_us`; `body` is as stored. Raises `BadMessage`, `ValueError`."""
        if seq != self.seq + 1:
            raise ValueError(f"event {seq} of run {self.run_id} does not follow event {self.seq}: feed every event once, in order")
        self.seq = seq
        self.last_us = at_us
        known = _KNOWN.get(kind)
        if known is None:
            self._without_spans(seq, kind, at_us, body)
            return []
        decode, handler, outside, from_worker, terminal = known
        try:
            data = decode(body).data
        except msgspec.DecodeError as error:
            raise BadMessage(f"not a valid {kind}: {error}") from error
        out: list[Span] = []
        if outside:
            self._arrived(seq, at_us)
        if handler is not None:
            handler(self, seq, at_us, data, out)
        if from_worker and data.mark is not None:  # type: ignore[attr-defined]
            self._advanced(data.mark, at_us, out)  # type: ignore[attr-defined]
        if terminal:
            self._end(kind, at_us, data, out)
        return out if seq > self.copied else []

    def _without_spans(self, seq: int, kind: str, at_us: int, body: bytes) -> None:
        """The beginning, and what says nothing to a trace. A local step or a mode of a fork is none of it, but the worker is told."""
        if kind == "run_started":
            self._begin(read_start(body), at_us)
        elif kind == "run_forked":
            self._forked(seq, at_us)
        elif kind in ev.OUTSIDE:
            self._arrived(seq, at_us)

    def pending(self, now_us: int) -> list[Span]:
        """What has begun and not ended, as if it ended at `now_us`, each with the attribute `waypost.pending`."""
        if self.start is None or self.ended:
            return []
        now_us = max(now_us, self.last_us)
        out: list[Span] = []
        for activation in (self.activation, self.sent):
            if activation is not None:
                self._activation_ends(activation, now_us, out)
        out.extend(self._plan(reason, now_us) for reason in self.reasons.values() if not reason.closed)
        for call_id, call in self.calls.items():
            out.extend(calls.so_far(self, call_id, call, now_us) if call.kind == "tool" else waiting.so_far(self, call_id, call, now_us))
        out.extend(self.waited(wait, now_us) for wait in self.waits.values())
        out.append(run_span(self, "", now_us, None))
        for span in out:
            if span.kind is not Kind.PRODUCER:  # a message that was sent was sent
                span.attributes[genai.PENDING] = True
        return out

    # -- what the families use

    def wait(self, key: str, what: str, seq: int, at_us: int, **more: Any) -> Wait:
        """Something waits from now on, under `key`; `more` are fields of `Wait`."""
        wait = self.waits[key] = Wait(what=what, seq=seq, start_us=at_us, **more)
        return wait

    def wait_over(self, key: str, at_us: int, out: list[Span], **attributes: Any) -> None:
        """The wait under `key`, if there is one, has ended. Attributes that are "" or None are left out."""
        wait = self.waits.pop(key, None)
        if wait is not None:
            wait.attributes.update((name, value) for name, value in attributes.items() if value not in ("", None))
            out.append(self.waited(wait, at_us))

    def waited(self, wait: Wait, end_us: int) -> Span:
        """The span of a wait."""
        mine, parent, attributes = span_id(self.run_id, wait.seq, "wait"), wait.parent or self.root, dict(wait.attributes)
        shape, start_us = shape_of_wait(self.agent, wait.what), wait.start_us
        return Span(self.trace_id, mine, parent, shape, start_us, max(start_us, end_us), attributes)

    def happened(self, at_us: int, name: str, **attributes: Any) -> None:
        """Something worth an event on the run's own span."""
        if len(self.events) >= MAX_RUN_EVENTS:
            self.dropped += 1
            return
        kept = {f"{self.prefix}.{key}": value for key, value in attributes.items() if value not in ("", None)}
        self.events.append(SpanEvent(at_us, name, kept))

    def asked(self, call_id: CallId, call: Call) -> None:
        """A call has begun, under the reasoning step that chose it or under the run; without means for it, it waits."""
        self.calls[call_id] = call
        call.span, call.parent = span_id(self.run_id, call.seq), self.root
        reason = None if call.because is None else self.reasons.get(call.because)
        if reason is not None:
            call.parent = span_id(self.run_id, reason.seq, "plan")
            reason.open += 1
            reason.calls += 1
            reason.tools.append(call.name)
        if call.unfunded:
            self.wait(call_id, "budget", call.seq, call.start_us, parent=call.span)

    def settled(self, because: CallId | None, at_us: int) -> None:
        """A call that a reasoning step chose has ended; the step ends with an advance that asks for nothing more."""
        reason = None if because is None else self.reasons.get(because)
        if reason is not None:
            reason.open -= 1
            reason.end_us = max(reason.end_us, at_us)

    # -- the run

    def _begin(self, start: StoredStart, at_us: int) -> None:
        self.start = start
        self.agent = start.agent
        self.started_us = at_us
        self.tainted = start.data.taint
        self.copied = 0 if start.data.fork is None else start.data.fork.seq
        self._arrived(1, at_us)

    def _forked(self, seq: int, at_us: int) -> None:
        """What precedes is another run's: its spans are in that run's trace, and what it took was counted there."""
        self.started_us = at_us
        self.events, self.dropped, self.paused, self.trip = [], 0, False, {}
        self.model_calls = self.tool_calls = self.input_tokens = self.output_tokens = self.cost = 0
        self.steps.clear()
        self.activation = self.sent = None
        for call in self.calls.values():
            call.start_us = at_us
        for wait in self.waits.values():
            wait.start_us = at_us
        self._arrived(seq, at_us)

    def _arrived(self, seq: int, at_us: int) -> None:
        """Something for the worker to read: an activation goes out with it, unless one is under way or the run is paused."""
        self.unread.append(seq)
        if self.sent is None:
            self.sent = None if self.paused else Activation(seq, at_us)
        elif self.sent.start_us == at_us:  # the same commit: one activation has both
            self.sent.seq = seq

    def _advanced(self, mark: Mark, at_us: int, out: list[Span]) -> None:
        """An advance is committed: activations, the local steps that it reported, and reasoning steps that ask for nothing more."""
        opened, sent = self.activation, self.sent
        if sent is not None and sent.seq <= mark.seen:  # the answer to it; otherwise a later word of the one before
            if opened is not None:
                self._activation_ends(opened, at_us, out)
            opened, self.sent = sent, None
            self.answered = sent.span = span_id(self.run_id, sent.seq, "activation")
        while self.unread and self.unread[0] <= mark.seen:
            self.unread.popleft()
        if self.sent is None and self.unread and not self.paused:
            self.sent = Activation(self.unread[-1], at_us)
        if self.steps:
            parent = self.answered or self.root
            for seq, data in self.steps:
                out.append(waiting.local_step(self, seq, data, at_us, parent))
            self.steps.clear()
        self.build = mark.build or self.build
        self.activation = opened
        if opened is not None:
            opened.worker, opened.build = mark.worker or opened.worker, mark.build or opened.build
            if not mark.running:
                self._activation_ends(opened, at_us, out)
                self.activation = None
        if self.reasons:
            self._plans_end(at_us, out, everything=False)

    def _activation_ends(self, activation: Activation, at_us: int, out: list[Span]) -> None:
        shape = shape_of_activation(self.prefix, self.agent, activation.build, activation.worker)
        seq, start_us = activation.seq, activation.start_us
        mine = activation.span or span_id(self.run_id, seq, "activation")
        parent = sent(self, shape_of_work_sent(self.prefix, self.agent), mine, start_us, self.root, out)
        end_us = max(start_us, at_us)
        out.append(Span(self.trace_id, mine, parent, shape, start_us, end_us, {genai.SEQ: seq}))

    def _plans_end(self, at_us: int, out: list[Span], *, everything: bool) -> None:
        for reason in self.reasons.values():
            if not reason.closed and (everything or reason.open <= 0):
                reason.closed = True
                out.append(self._plan(reason, at_us if everything and reason.open > 0 else reason.end_us))
        while len(self.reasons) > MAX_REASONS:
            oldest = next((call_id for call_id, reason in self.reasons.items() if reason.closed), None)
            if oldest is None:
                return
            del self.reasons[oldest]

    def _plan(self, reason: Reasoning, end_us: int) -> Span:
        attributes: Attributes = {genai.SEQ: reason.seq, genai.TOOL_CALLS: reason.calls}
        if reason.intent:
            attributes[genai.INTENT] = reason.intent
        if reason.tools:
            attributes[genai.TOOLS] = list(reason.tools)
        mine, shape, start_us = span_id(self.run_id, reason.seq, "plan"), shape_of_plan(self.agent, reason.model), reason.start_us
        return Span(self.trace_id, mine, self.root, shape, start_us, max(start_us, end_us), attributes, reason.error)

    def _end(self, kind: str, at_us: int, data: ev.Data, out: list[Span]) -> None:
        """The run has ended: so has everything that was open."""
        for call_id, call in list(self.calls.items()):
            out.extend(calls.so_far(self, call_id, call, at_us) if call.kind == "tool" else waiting.so_far(self, call_id, call, at_us))
        for key in list(self.waits):
            self.wait_over(key, at_us, out, **{genai.DECISION: "run ended"})
        for activation in (self.activation, self.sent):
            if activation is not None:
                self._activation_ends(activation, at_us, out)
        for seq, step in self.steps:
            out.append(waiting.local_step(self, seq, step, at_us, self.root))
        self._plans_end(at_us, out, everything=True)
        out.append(run_span(self, _STATUS[kind], at_us, data))
        self.ended = True
        self.calls.clear()
        self.steps.clear()
        self.reasons.clear()
        self.unread.clear()
        self.activation = self.sent = None
