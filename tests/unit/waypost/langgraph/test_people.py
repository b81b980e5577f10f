"""Interrupts ask people: one and several, in subgraphs, with forms, with nobody answering, and with crashes in between."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph
from langgraph.types import Send, interrupt
from pydantic import BaseModel

from tests.unit.waypost.langgraph.models import Scripted
from tests.unit.waypost.langgraph.world import RUN, World
from waypost.langgraph import Asks, LangGraphAgent
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.values import Failure


class State(TypedDict):
    said: Annotated[list[str], operator.add]


class Decision(BaseModel):
    approve: bool
    reason: str = ""


def asking(name: str, ran: list[str]) -> Any:
    async def node(_state: State) -> dict[str, Any]:
        ran.append(name)
        answer = interrupt({"question": f"{name}?", "role": "officer", "sum": 3})
        return {"said": [f"{name}: {answer}"]}

    return node


def two(ran: list[str]) -> LangGraphAgent:
    graph = StateGraph(State)
    graph.add_node("one", asking("one", ran))
    graph.add_node("two", asking("two", ran))
    graph.add_edge(START, "one")
    graph.add_edge(START, "two")
    return LangGraphAgent("two", graph.compile())


async def test_several_interrupts_at_once_are_questions() -> None:
    ran: list[str] = []
    world = World(two(ran), {"said": []})
    await world.until(lambda: len(world.questions) == 2)
    assert {q.role for q in world.questions} == {"officer"}
    assert {q.question.split("?")[0] for q in world.questions} == {"one", "two"}
    assert '"sum": 3' in world.questions[0].question
    await world.until(lambda: world.execution.running == 0)
    for question in world.questions:
        world.answer(question, f"yes {question.question.split('?')[0]}")
    assert sorted((await world.end())["said"]) == ["one: yes one", "two: yes two"]
    await world.close()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_answers_come_one_by_one_and_workers_die_between(order: tuple[int, int]) -> None:
    ran: list[str] = []
    world = World(two(ran), {"said": []})
    await world.until(lambda: len(world.questions) == 2)
    world.crash()
    before = len(ran)
    for number in order:
        world.crash()
        world.answer(world.questions[number], "yes")
        await world.until(lambda: world.execution.running == 0 or world.outcome is not None)
    world.crash() if world.outcome is None else None
    assert sorted((await world.end())["said"]) == ["one: yes", "two: yes"]
    assert len(world.questions) == 2, "nobody is asked twice"
    assert before == 2, "a run that waits is not run again only because its worker died"
    await world.close()


@pytest.mark.parametrize("at", range(24))
async def test_two_interrupts_in_one_node_and_a_crash_after_any_item(at: int) -> None:
    model = Scripted(say=lambda _: AIMessage("hm"))

    async def node(_state: State) -> dict[str, Any]:
        first = interrupt("first?")
        thought = await model.ainvoke(f"what of {first}")
        second = interrupt("second?")
        return {"said": [first, str(thought.content), second]}

    inner = StateGraph(State)
    inner.add_node("node", node)
    inner.add_edge(START, "node")
    outer = StateGraph(State)
    outer.add_node("inner", inner.compile())
    outer.add_edge(START, "inner")
    agent = LangGraphAgent("nested", outer.compile())
    world = World(agent, {"said": []}, answer=lambda q: f"a:{q.question}")
    count = 0

    def crash(_item: cmd.AnyItem) -> bool:
        nonlocal count
        count += 1
        return count == at + 1

    world.crash_after = crash
    assert (await world.end())["said"] == ["a:first?", "hm", "a:second?"]
    assert [q.question for q in world.questions] == ["first?", "second?"]
    assert sum(isinstance(item, cmd.FinishStep) for item in world.items) == 1
    await world.close()


async def test_a_form_from_the_response_schema_and_its_validated_answer() -> None:
    got: list[Any] = []

    def node(_state: State) -> dict[str, Any]:
        decision = interrupt("refund 20?", response_schema=Decision)
        got.append(decision)
        return {"said": [decision.reason]}

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    agent = LangGraphAgent("form", graph.compile(), asks=Asks(role="desk", expires=60))
    world = World(agent, {"said": []}, answer=lambda _: {"approve": True, "reason": "fine"})
    assert (await world.end())["said"] == ["fine"]
    assert got == [Decision(approve=True, reason="fine")]
    (question,) = world.questions
    assert b'"approve"' in bytes(question.answer_schema)  # type: ignore[arg-type]
    assert (question.role, question.expires_seconds) == ("desk", 60)
    await world.close()


async def test_nobody_answers() -> None:
    ran: list[str] = []
    for unanswered, expected in ((None, None), (lambda i, e: f"nobody ({e.type}) for {i.value['question']}", "nobody")):
        agent = two(ran)
        agent.unanswered = unanswered
        world = World(agent, {"said": []})
        await world.until(lambda world=world: len(world.questions) == 2)  # type: ignore[misc]
        for question in world.questions:
            failure = Failure(type="QuestionExpired", message="too late")
            data = ev.QuestionUnanswered(call_id=question.id, question_id=question.id, error=failure)
            world.execution.feed([world._append(data)])
        if expected is None:
            assert (await world.failed()).type == "Unanswered"
        else:
            assert all("nobody (QuestionExpired)" in line for line in (await world.end())["said"])
        await world.close()


async def test_a_breakpoint_asks_once() -> None:
    def node(_state: State) -> dict[str, Any]:
        return {"said": ["done"]}

    graph = StateGraph(State)
    graph.add_node("before", lambda _: {"said": ["before"]})
    graph.add_node("node", node)
    graph.add_edge(START, "before")
    graph.add_edge("before", "node")
    world = World(LangGraphAgent("stops", graph.compile(interrupt_before=["node"])), {"said": []})
    await world.until(lambda: len(world.questions) == 1)
    world.crash()
    world.answer(world.questions[0], True)
    assert (await world.end())["said"] == ["before", "done"]
    assert len(world.questions) == 1
    await world.close()


async def test_interrupts_in_sent_branches() -> None:
    def spread(_state: State) -> list[Send]:
        return [Send("ask", {"said": [name]}) for name in ("ada", "bob", "cyd")]

    def ask(state: State) -> dict[str, Any]:
        name = state["said"][0]
        return {"said": [f"{name}={interrupt(f'{name}?')}"]}

    graph = StateGraph(State)
    graph.add_node("ask", ask)
    graph.add_conditional_edges(START, spread, ["ask"])
    world = World(LangGraphAgent("many", graph.compile()), {"said": []}, answer=lambda q: q.question.upper())
    assert sorted((await world.end())["said"]) == ["ada=ADA?", "bob=BOB?", "cyd=CYD?"]
    assert len(world.questions) == 3
    assert RUN
    await world.close()
