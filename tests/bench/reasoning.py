"""What one turn of a reasoning run costs its worker, however long its history is (P10).

    python -m tests.bench.reasoning

A turn: the tool's result is folded, the next question is decided and built, its answer is folded, the next call is issued. Left out is what
any program does that asks a model: to write the request down and to send it, which costs what the context is long, and the context is
bounded by the window.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from msgspec import Raw

from waypost import ReasoningAgent, tool
from waypost.execution import Beginning, EffectResult, LocalEffect
from waypost.models.messages import AssistantMessage, ToolUse
from waypost.models.scripted import ScriptedModel
from waypost.reasoning.deciding import Ask
from waypost.reasoning.execution import ReasoningExecution
from waypost.reasoning.requests import request_of
from waypost.reasoning.state import Answer
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.ids import RunId
from waypost_proto.work import Entry

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
RESULT_CHARS = 2_000
WINDOW_TURNS = 40
"""Turns at the beginning that the later ones are compared with."""


@tool(effect="read")
async def look(key: str) -> str:
    return key


@dataclass(frozen=True)
class Point:
    """Where a run stood, and what its turns cost about then."""

    turns: int
    history_chars: int
    context_chars: int
    micros: float


class Liver:
    """Lives one run by hand; measures each turn."""

    def __init__(self) -> None:
        agent = ReasoningAgent(
            name="liver", model=ScriptedModel(["never asked"]), instructions="You look things up.", tools=[look], max_turns=1_000_000
        )
        self.agent = agent
        self.effects: list[LocalEffect] = []
        made = agent.execution(Beginning(run_id=RUN, start_effect=self.effects.append))
        assert isinstance(made, ReasoningExecution)
        self.execution = made
        self.seq = 0
        self.turns = self.history_chars = self.compactions = 0
        self.micros: list[float] = []
        self.feed(ev.RunStarted(input=Raw(b'"go"')))

    def feed(self, data: ev.AnyData) -> None:
        self.seq += 1
        entry = Entry(seq=self.seq, type=str(data.__struct_config__.tag), at=float(self.seq), data=Raw(encode(data)))
        self.execution.feed([entry])

    def turn(self) -> None:
        """From the result of one call to the next call."""
        number = self.turns + self.compactions + 1
        use = ToolUse(id=f"use-{number}", name="look", arguments=f'{{"key": "{number}"}}')
        answer = encode(Answer(message=AssistantMessage(text=f"Now number {number}.", tool_uses=(use,)), heard=self.seq))
        result = Raw(encode(f"{number}: " + "x" * RESULT_CHARS))
        began = time.perf_counter_ns()
        self.end_effect(answer)
        (call,) = [item for item in self.execution.take_items() if isinstance(item, cmd.CallTool)]
        self.feed(ev.ToolCallCompleted(call_id=call.id, tool="look", attempt=1, result=result))
        request_of(self.execution.state, self.agent, Ask(kind="think"), "You look things up.")
        self.micros.append((time.perf_counter_ns() - began) / 1_000)
        self.turns += 1
        self.history_chars += RESULT_CHARS
        if self.effects[0].name == "compact":
            self.compact()

    def compact(self) -> None:
        self.compactions += 1
        through = self.execution.state.dialogue.cut_at(self.agent.plan.window.kept)
        assert through is not None
        self.end_effect(encode(Answer(message=AssistantMessage(text="So far so good."), through=through)))
        self.execution.take_items()

    def end_effect(self, answer: bytes) -> None:
        effect = self.effects.pop()
        self.execution.finish_effect(EffectResult(call_id=effect.call_id, at=float(self.seq), result=answer))

    def point(self) -> Point:
        recent = self.micros[-WINDOW_TURNS:]
        return Point(self.turns, self.history_chars, self.execution.state.dialogue.chars, statistics.median(recent))


def measured(history_chars: int = 1_000_000) -> list[Point]:
    """The cost of a turn at the beginning, and at each tenth of the history."""
    liver, points = Liver(), []
    for part in range(1, 11):
        while liver.history_chars < history_chars * part // 10:
            liver.turn()
            if liver.turns == WINDOW_TURNS:
                points.append(liver.point())
        points.append(liver.point())
    return points


def table(points: list[Point]) -> str:
    lines = ["| turns | characters of history | characters shown to the model | µs a turn | of the first |", "|---:|---:|---:|---:|---:|"]
    for point in points:
        ratio = point.micros / points[0].micros
        lines.append(f"| {point.turns} | {point.history_chars:,} | {point.context_chars:,} | {point.micros:.0f} | {ratio:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measured()))
