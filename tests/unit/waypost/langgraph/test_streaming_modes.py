"""LangGraph's streaming modes for people who watch: in order, bounded, and across crashes: nothing is shown twice as final."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, Send, interrupt
from msgspec import Struct

from tests.graph_watching import Watched
from tests.unit.waypost.langgraph.models import Scripted
from tests.unit.waypost.langgraph.world import RUN, World
from waypost.langgraph import LangGraphAgent, step
from waypost.langgraph.stream_modes import MODES, written
from waypost.streamed import Preview, Streamed
from waypost_cli.tokens_shown import TokenWriter
from waypost_proto.codec import decode_union, encode
from waypost_proto.events import Event
from waypost_proto.limits import MAX_GRAPH_PART_BYTES
from waypost_proto.streams import AnyGraphStreamed, AnyStreamed, GraphEnded, GraphPart, GraphParts, GraphStarted
from waypost_proto.values import Failure, Token
from waypost_proto.work import Entry


class Reader(Watched):
    """Somebody who watches the run of a world."""

    def __init__(self) -> None:
        super().__init__()
        self._preview = Preview()

    def opened(self, worker: int) -> Port:
        return Port(self, worker)

    def message(self, message: AnyGraphStreamed) -> None:
        for item in self._preview.take(decode_union(AnyStreamed, encode(message))):
            self.take(item)

    def recorded(self, entry: Entry) -> None:
        event = Event(run_id=RUN, seq=entry.seq, type=entry.type, agent="a", correlation_id="c", recorded_at="", data=entry.data)
        for item in self._preview.settle(event):
            self.take(item)


class Port:
    """What the worker gives to a run, in the fewest words. A message for each part."""

    def __init__(self, reader: Reader, worker: int) -> None:
        self._reader = reader
        self._worker = worker
        self._begun = 0
        self._seq = 0

    @property
    def _attempt(self) -> str:
        return f"{self._worker}.{self._begun}"

    def begin(self, checkpoints: Mapping[str, str]) -> None:
        self._begun += 1
        self._seq = 0
        token = Token(epoch=1, counter=self._worker)
        self._reader.message(GraphStarted(run_id=RUN, attempt=self._attempt, token=token, checkpoints=dict(checkpoints), agent="a"))

    def part(self, part: GraphPart) -> None:
        self._seq += 1
        self._reader.message(GraphParts(run_id=RUN, attempt=self._attempt, seq=self._seq, parts=[part]))

    def end(self, error: Failure | None = None) -> None:
        self._seq += 1
        self._reader.message(GraphEnded(run_id=RUN, attempt=self._attempt, seq=self._seq, error=error))


class State(TypedDict):
    words: Annotated[list[str], operator.add]


def plan(_state: State) -> dict[str, Any]:
    get_stream_writer()({"planning": 1})
    return {"words": ["plan"]}


async def inner_one(_state: State) -> dict[str, Any]:
    get_stream_writer()("one begins")
    await step(str, "x")
    get_stream_writer()("one ends")
    return {"words": ["one"]}


async def inner_two(_state: State) -> dict[str, Any]:
    await step(str, "y")
    return {"words": ["two"]}


async def beside(_state: State) -> dict[str, Any]:
    await step(str, "z")
    get_stream_writer()("beside")
    return {"words": ["beside"]}


def last(_state: State) -> dict[str, Any]:
    return {"words": ["last"]}


def nested(stream: Any = ("updates", "custom", "values")) -> LangGraphAgent:
    """A plan, then a graph of two nodes beside a node, then the last word."""
    inner = StateGraph(State)
    inner.add_node("one", inner_one)
    inner.add_node("two", inner_two)
    inner.add_edge(START, "one")
    inner.add_edge("one", "two")
    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("inner", inner.compile())
    graph.add_node("beside", beside)
    graph.add_node("last", last)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "inner")
    graph.add_edge("plan", "beside")
    graph.add_edge(["inner", "beside"], "last")
    graph.add_edge("last", END)
    return LangGraphAgent("nested", graph.compile(), stream=stream)


async def ended(agent: LangGraphAgent, value: Any, *, crash_after: int = 0, answer: Any = None) -> Reader:
    """Run it to its end; the worker dies after that many things were recorded."""
    reader = Reader()
    world = World(agent, value, watcher=reader, answer=answer)
    if crash_after:
        world.crash_after = lambda _: len(world.items) == crash_after
    try:
        await world.end()
    finally:
        await world.close()
    return reader


def names(reader: Reader) -> list[str]:
    return sorted(
        "/".join([*(part.split(":")[0] for part in each.namespace), *next_of(each)]) for each in reader.final if each.mode == "updates"
    )


def next_of(item: Streamed) -> list[str]:
    assert item.data is not None
    return [name for name in msgspec.json.decode(item.data) if name != "__metadata__"]


WHOLE = ["beside", "inner", "inner/one", "inner/two", "last", "plan"]


async def test_what_a_graph_shows_in_order() -> None:
    reader = await ended(nested(), {"words": ["go"]})
    assert [item.kind for item in reader.items][:1] == ["graph_started"]
    assert names(reader) == WHOLE
    assert sorted(map(str, reader.told("custom"))) == ["beside", "one begins", "one ends", "{'planning': 1}"]
    assert reader.told("values")[-1] == {"words": ["go", "plan", "beside", "go", "plan", "one", "two", "last"]}
    assert reader.void == []


async def test_off_by_default() -> None:
    for stream in (False, True, "messages"):
        reader = await ended(nested(stream), {"words": ["go"]})
        assert [item.kind for item in reader.items] == ["ended"]


async def test_a_crash_after_anything_shows_nothing_twice_as_final() -> None:
    for number in range(1, 30):
        reader = await ended(nested(), {"words": ["go"]}, crash_after=number)
        assert names(reader) == WHOLE, number
        assert reader.told("values")[-1]["words"][-1] == "last"
        kinds = [item.kind for item in reader.items]
        if "graph_restarted" not in kinds:
            return  # the run has fewer
        assert reader.told("custom").count("one ends") <= 1
        assert reader.told("custom").count("beside") <= 1
    raise AssertionError("never came to the end")


async def test_an_interrupt_is_shown_and_its_step_comes_again() -> None:
    def ask(_state: State) -> dict[str, Any]:
        get_stream_writer()("asking")
        return {"words": [interrupt({"question": "go on?"})]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    reader = await ended(LangGraphAgent("asks", graph.compile(), stream=("updates", "custom")), {"words": []}, answer=lambda _: "yes")
    assert reader.told("updates") == [{"ask": {"words": ["yes"]}}]
    assert reader.told("custom") == ["asking"]
    assert "__interrupt__" in reader.told("updates", reader.void)[0]
    assert reader.told("custom", reader.void) == ["asking"]


async def test_what_cannot_be_shown_is_said_and_does_no_harm() -> None:
    def shows(_state: State) -> dict[str, Any]:
        write = get_stream_writer()
        write(object())
        write("x" * (MAX_GRAPH_PART_BYTES + 1))
        write("\ud83d")
        deep: list[Any] = []
        for _ in range(70):
            deep = [deep]
        write(deep)
        write(b"\xff")
        write(float("nan"))
        return {"words": ["shown"]}

    graph = StateGraph(State)
    graph.add_node("shows", shows)
    graph.add_edge(START, "shows")
    reader = await ended(LangGraphAgent("shows", graph.compile(), stream="custom"), {"words": []})
    told = [each.omitted or bytes(each.data or b"").decode() for each in reader.final]
    assert "cannot be written as JSON" in told[0]
    assert "builtins.object" in told[0]
    assert told[1] == f"it has {MAX_GRAPH_PART_BYTES + 3} bytes, the limit is {MAX_GRAPH_PART_BYTES}"
    assert "cannot be written" in told[2]
    assert "nested" in told[3]
    assert told[4:] == ['"_w=="', "null"]


async def test_every_mode_can_be_shown() -> None:
    model = Scripted(say=lambda _: AIMessage("hello"))

    async def think(state: MessagesState) -> Command[Any]:
        return Command(update={"messages": [await model.ainvoke(state["messages"])]}, goto=Send("done", {"messages": []}))

    graph = StateGraph(MessagesState)
    graph.add_node("think", think, destinations=("done",))
    graph.add_node("done", lambda _: {})
    graph.add_edge(START, "think")
    reader = await ended(LangGraphAgent("all", graph.compile(), stream=MODES), {"messages": [("user", "hi")]})  # type: ignore[arg-type]
    shown = {item.mode for item in reader.items if item.kind == "graph"}
    assert shown == set(MODES) - {"messages", "custom"}
    assert [each.omitted for each in reader.final if each.omitted] == []
    assert reader.told("updates")[0]["think"]["messages"][0]["content"] == "hello"
    assert {each["type"] for each in reader.told("debug")} == {"checkpoint", "task", "task_result"}


def test_a_mode_that_is_none() -> None:
    with pytest.raises(ValueError, match="'update' is no streaming mode; use messages, updates"):
        nested(("update",))


def test_structs_and_errors_are_written_too() -> None:
    class Point(Struct):
        x: int

    data, omitted = written({"at": Point(x=1), "error": ValueError("no"), "send": Send("a", 1)})
    assert omitted == ""
    assert msgspec.json.decode(data or b"") == {
        "at": {"x": 1},
        "error": {"type": "ValueError", "message": "no"},
        "send": {"node": "a", "arg": 1},
    }


async def test_a_stale_worker_and_a_late_reader() -> None:
    reader = Reader()
    late = Port(reader, 1)
    late._begun = 1
    late._seq = 4
    late.part(GraphPart(mode="custom", data=msgspec.Raw(b"1")))
    assert [item.kind for item in reader.items] == ["graph_started", "gap", "graph"]
    Port(reader, 2).begin({"": "c1"})
    late.part(GraphPart(mode="custom", data=msgspec.Raw(b"2")))
    late.begin({})
    assert [item.kind for item in reader.items][3:] == ["graph_restarted"]
    assert reader.told("custom", reader.pending) == [1], "before the checkpoint that the other goes on from"


async def test_on_a_terminal() -> None:
    reader = await ended(nested(("updates", "custom")), {"words": ["go"]}, crash_after=4)
    writer = TokenWriter()
    text = "".join(map(writer.text_of, reader.items))
    assert '— custom\n{"planning":1}\n' in text
    assert "— inner updates\n" in text
    assert "a goes on from its last checkpoint" in text
    assert "recorded" in text
    assert text.endswith("— run completed\n")


def test_items_are_told_apart() -> None:
    shown = Streamed(kind="graph", namespace=("a:1", "b:2"), checkpoint="5")
    assert Streamed(kind="graph_saved", namespace=("a:1",), checkpoint="6").settles(shown)
    assert not Streamed(kind="graph_saved", namespace=("a:2",), checkpoint="6").settles(shown)
    assert not Streamed(kind="graph_saved", checkpoint="5").settles(shown)
    assert Streamed(kind="graph_restarted", checkpoints={"": "4"}).voids(shown)
    assert not Streamed(kind="graph_restarted", checkpoints={"": "4", "a:1": "6"}).voids(shown)
    assert Streamed(kind="graph_restarted").voids(shown)
    assert not Streamed(kind="graph_restarted").voids(Streamed(kind="text"))
