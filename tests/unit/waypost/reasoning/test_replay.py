"""Replay equals live: at every point of random lives, whatever the journal is cut into, under another definition too."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.waypost.execution.world import RUN, Recorder, entry, event_of
from tests.unit.waypost.reasoning.fake import Fake, calls, says
from tests.unit.waypost.reasoning.rig import Rig
from waypost import Context, ReasoningAgent, agent, tool
from waypost.execution import Beginning
from waypost.models import ModelBusy, ModelRequest, ModelResponse
from waypost.reasoning import Window
from waypost.reasoning.execution import ReasoningExecution
from waypost.reasoning.folding import Keep, fold, value_of
from waypost.reasoning.state import State
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode_union, encode
from waypost_proto.values import Failure
from waypost_proto.work import Entry


@tool(effect="read")
async def look(key: str) -> str:
    return key


@agent
async def clerk(ctx: Context, task: str) -> str:
    return task


def thinker(model: Any, **options: Any) -> ReasoningAgent[Any, Any]:
    options = {"instructions": "You think.", "planning": True, "ask": "officer", "window": Window(max_tokens=100, keep_tokens=50)} | options
    return ReasoningAgent(name="thinker", model=model, tools=[look, clerk], **options)


class Moody(Fake):
    """Says anything that the agent can do something with, by a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__("")
        self.random = random.Random(seed)

    async def generate(self, request: ModelRequest, on_delta: Any = None) -> ModelResponse:
        self.asked.append(request)
        choice = self.random.randrange(12)
        if choice == 0:
            raise ModelBusy("503", retry_after=60.0)
        if choice == 1:
            return says("")
        if choice == 2:
            return says("The end. " * self.random.randrange(1, 30))
        uses: list[Any] = [("look", {"key": "a" * self.random.randrange(200)}), ("clerk", {"input": "b"}), ("nope", {}), ("look", "{")]
        uses += [("ask-person", {"question": "?"}), ("update-plan", {"steps": [{"step": "x"}]})]
        return calls(*self.random.sample(uses, self.random.randrange(1, 5)), text="Let me see.", tokens=self.random.choice([0, 40]))


class Life:
    """Lives one run, and remembers after each thing that happened where it stood."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rig = Rig(thinker(Moody(seed)))
        self.points: list[tuple[int, int, State]] = []
        for _ in range(40):
            self.remember()
            if self.rig.execution.finished:
                break
            self.happen()
        self.remember()

    def remember(self) -> None:
        execution = self.rig.execution
        self.points.append((len(self.rig.recorder.log), self.rig.recorder.seen, copy.deepcopy(execution.state)))

    def happen(self) -> None:
        rig = self.rig
        choices: list[Any] = [lambda item=item: self.answer(item) for item in rig.recorder.open.values()]
        choices += [rig.think] * 2 if rig.effects else []
        choices += [lambda: rig.instruct("go on")] if self.random.random() < 0.15 or not choices else []
        self.random.choice(choices)()

    def answer(self, item: cmd.AnyItem) -> None:
        match item:
            case cmd.StartTimer():
                self.rig.happens(ev.TimerFired(call_id=item.id))
            case cmd.AskQuestion():
                self.rig.happens(
                    ev.QuestionUnanswered(call_id=item.id, question_id="q", error=Failure(type="QuestionExpired", message="no"))
                )
            case cmd.CallTool() | cmd.StartChild():
                if self.random.random() < 0.8:
                    self.rig.answer(item.id, "r" * self.random.randrange(300), taint=("web",))
                else:
                    self.rig.refuse(item.id)


def replayed(log: list[Entry], seen: int, definition: ReasoningAgent[Any, Any]) -> tuple[ReasoningExecution, list[cmd.AnyItem], list[str]]:
    effects: list[str] = []
    execution = definition.execution(Beginning(run_id=RUN, start_effect=lambda effect: effects.append(effect.call_id)))
    assert isinstance(execution, ReasoningExecution)
    execution.replay(log, seen)
    return execution, execution.take_items(), effects


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_replay_equals_live_at_every_point(seed: int) -> None:
    life = Life(seed)
    for length, seen, state in life.points:
        execution, items, effects = replayed(life.rig.recorder.log[:length], seen, life.rig.agent)
        assert not execution.diverged, items
        assert items == [], "everything that the run asked for is in the journal"
        assert execution.state == state
        assert execution.finished == state.ended
        thinking = state.started and not (state.ended or state.busy or state.waiting)
        assert effects == ([state.next_model_id] if thinking else []), "the call that is not recorded begins again, and no other"


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_a_tail_that_was_never_accepted_is_asked_for_again(seed: int) -> None:
    """The worker died with an advance half sent (it was split), or not sent at all: what follows is the same, under the same ids."""
    life = Life(seed)
    log = life.rig.recorder.log
    own = [index for index, made in enumerate(log) if made.type not in ev.OUTSIDE]
    for cut in own[:: max(1, len(own) // 8)]:
        seen = max([0, *(getattr(decode_union(ev.AnyData, made.data), "seen", 0) for made in log[:cut])])
        prefix = [made for made in log[:cut] if made.type not in ev.OUTSIDE or made.seq <= seen]
        execution, items, _ = replayed(prefix, seen, life.rig.agent)
        assert not execution.diverged, items
        again = [encode(event_of(item)) for item in items if not isinstance(item, cmd.RequestStep)]
        assert again[: len(lost(log[cut:]))] == lost(log[cut:])[: len(again)]


def lost(log: list[Entry]) -> list[bytes]:
    """What the run issued by itself, up to where it waited for something."""
    found: list[bytes] = []
    for made in log:
        model_call = made.type.startswith("step_") and "." not in getattr(decode_union(ev.AnyData, made.data), "call_id", "")
        if made.type in ev.OUTSIDE or model_call:
            break
        found.append(bytes(made.data))
    return found


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.data())
def test_the_fold_of_a_prefix_and_then_the_rest_is_the_fold_of_all(seed: int, data: Any) -> None:
    facts = in_order(Life(seed).rig.recorder)
    cut = data.draw(st.integers(0, len(facts)))
    whole, parts = folded(facts, State()), folded(facts[:cut], State())
    assert folded(facts[cut:], copy.deepcopy(parts)) == whole


def in_order(recorder: Recorder) -> list[tuple[Any, Entry]]:
    """The facts of a journal in the order in which the run lived them."""
    made = [(decode_union(ev.AnyData, found.data), found) for found in recorder.log]
    return sorted(made, key=lambda pair: (pair[1].seq, 0) if pair[1].type in ev.OUTSIDE else (pair[0].seen, pair[1].seq))


def folded(facts: list[tuple[Any, Entry]], state: State) -> State:
    for data, made in facts:
        fold(state, data, value_of(data, {}), made.seq, Keep(result=500))
    return state


def test_another_build_goes_on_from_the_same_log() -> None:
    first = thinker(Fake("1. look", calls(("look", {"key": "a"})), "never said"))
    rig = Rig(first)
    rig.think()
    rig.think()
    second = thinker(Fake("done"), instructions="You think otherwise.", planning=False, window=Window(), output=str)
    other = rig.again(second)
    assert other.items == []
    other.answer("m2.1", "found")
    other.think()
    assert other.result == "done"
    request = second.plan.model.asked[0]
    assert request.instructions.startswith("You think otherwise.")
    assert [message.text for message in request.messages] == ["go", "", "found"]


def test_a_tool_that_is_gone_still_answers_its_open_call() -> None:
    rig = Rig(thinker(Fake("1. look", calls(("look", {"key": "a"})))))
    rig.think()
    rig.think()
    other = rig.again(ReasoningAgent(name="thinker", model=Fake("done"), instructions="x"))
    other.answer("m2.1", "found")
    other.think()
    assert other.result == "done"


def test_a_journal_of_another_kind_of_agent_diverges_readably() -> None:
    log = [
        entry(1, ev.RunStarted(input=encode_raw("go")), 1000.0),
        entry(2, ev.StepCompleted(seen=1, call_id="0:1", name="roll", at=1000.0, result=encode_raw(4)), 1000.0),
    ]
    execution, items, effects = replayed(log, 1, thinker(Fake("x")))
    assert execution.diverged
    (report,) = items
    assert isinstance(report, cmd.ReportDivergence)
    assert "0:1" in report.expected
    assert "reasoning agent" in report.found
    assert effects == []


@pytest.mark.parametrize(
    "wrong",
    [
        ev.StepCompleted(seen=1, call_id="m2", name="think", at=1.0),
        ev.StepCompleted(seen=1, call_id="m1", name="think", at=1.0),
        ev.StepFailed(seen=1, call_id="m3.1", name="look", at=1.0, error=Failure(type="x", message="x")),
        ev.ToolCallRequested(seen=1, call_id="m1.1", tool="look", args_digest="", idempotency_key=""),
        ev.TimerStarted(seen=1, call_id="0:2", fire_at=3.0),
        ev.ToolCallCompleted(call_id="m1.1", tool="look", attempt=1),
    ],
)
def test_what_does_not_follow_diverges(wrong: Any) -> None:
    log = [entry(1, ev.RunStarted(input=encode_raw("go")), 1000.0), entry(2, wrong, 1000.0)]
    execution, _, _ = replayed(log, 2, thinker(Fake("x")))
    assert execution.diverged


def test_an_input_that_the_new_build_does_not_take_diverges_and_does_not_fail() -> None:
    rig = Rig(thinker(Fake("1. x", calls(("look", {"key": "a"})))))
    rig.think()
    other = rig.again(thinker(Fake("x"), input=int))
    assert other.execution.diverged
    assert "input" in other.items[0].found


def encode_raw(value: object) -> Any:
    from msgspec import Raw

    return Raw(encode(value))
