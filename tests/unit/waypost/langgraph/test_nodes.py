"""What nodes may do: plain and async, models of all shapes, tools by every way, steps, retries, and what goes wrong in them."""

from __future__ import annotations

import asyncio
import contextvars
import operator
import threading
from typing import Annotated, Any, TypedDict

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolCallId, ToolException
from langchain_core.tools import tool as lc_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode
from langgraph.types import Command, RetryPolicy

from tests.unit.waypost.langgraph.models import Scripted, Streaming, call
from tests.unit.waypost.langgraph.world import World
from waypost import tool
from waypost.langgraph import LangGraphAgent, durable, in_node, langchain_tools, step, step_now
from waypost.langgraph.activity import Activity
from waypost.langgraph.book import Book
from waypost.langgraph.calls import Calls
from waypost_proto import commands as cmd
from waypost_proto.ids import CallId


class State(TypedDict):
    said: Annotated[list[str], operator.add]


ASKED = {"messages": [{"role": "user", "content": "weather in ulm"}]}


def one_node(node: Any, **options: Any) -> LangGraphAgent:
    graph = StateGraph(State)
    graph.add_node("node", node, retry_policy=options.pop("retry_policy", None))
    graph.add_edge(START, "node")
    return LangGraphAgent("one", graph.compile(), **options)


async def crashing(agent: LangGraphAgent, value: Any, at: int) -> World:
    """A world whose worker dies after item number `at`."""
    world = World(agent, value)
    count = 0

    def crash(_item: cmd.AnyItem) -> bool:
        nonlocal count
        count += 1
        return count == at

    world.crash_after = crash
    return world


@lc_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sun in {city}"


@tool(effect="read")
async def population(city: str, year: int = 2026) -> int:
    """How many live in a city."""
    return 128_000 + year - 2026


def sunny(messages: Any) -> AIMessage:
    if not any(isinstance(m, ToolMessage) for m in messages):
        return AIMessage("", tool_calls=[call("weather", "w1", city="ulm"), call("population", "p1", city="ulm")])
    return AIMessage("sunny")


@pytest.mark.parametrize("at", [0, *range(2, 16)])
async def test_create_agent(at: int) -> None:
    model = Scripted(say=sunny)
    graph = create_agent(model, [weather, *langchain_tools(population)], system_prompt="be brief")
    world = await crashing(LangGraphAgent("brief", graph, tools=[durable(weather, effect="read"), population]), ASKED, at)
    result = await world.end()
    assert result["messages"][-1]["content"] == "sunny"
    assert [m["content"] for m in result["messages"] if m["type"] == "tool"] == ["sun in ulm", "128000"]
    assert world.tool_calls == {"weather": 1, "population": 1}
    assert len([i for i in world.items if isinstance(i, cmd.FinishStep)]) == 2
    await world.close()


@pytest.mark.parametrize("at", [0, *range(2, 10)])
async def test_plain_nodes_in_threads(at: int) -> None:
    model = Scripted(say=lambda _: AIMessage("thought"))
    threads: list[str] = []

    def node(_state: State) -> dict[str, Any]:
        thought = model.invoke("think")
        threads.append(threading.current_thread().name)
        sun = weather.invoke({"city": "ulm"})
        number = step_now(lambda: 7, name="seven")
        return {"said": [str(thought.content), sun, str(number)]}

    world = await crashing(one_node(node, tools=[durable(weather, effect="read")]), {"said": []}, at)
    assert (await world.end())["said"] == ["thought", "sun in ulm", "7"]
    assert threading.main_thread().name not in threads
    assert world.tool_calls == {"weather": 1}
    assert len([i for i in world.items if isinstance(i, cmd.FinishStep)]) == 2
    await world.close()


async def test_a_synchronous_call_in_an_async_node_is_refused() -> None:
    model = Scripted(say=lambda _: AIMessage("no"))

    async def node(_state: State) -> dict[str, Any]:
        return {"said": [str(model.invoke("think").content)]}

    world = World(one_node(node), {"said": []})
    failure = await world.failed()
    assert failure.type == "ContractError"
    assert "ainvoke" in failure.message
    await world.close()


@pytest.mark.parametrize("at", [0, *range(2, 12)])
async def test_branches_within_a_node_keep_their_answers(at: int) -> None:
    model = Scripted(say=lambda messages: AIMessage(str(messages[-1].content).upper()))

    async def branch(name: str) -> str:
        first = await model.ainvoke(name)
        second = await step(lambda: f"{first.content}!", name="shout")
        sun = await weather.ainvoke({"city": second})
        return str(sun)

    async def node(_state: State) -> dict[str, Any]:
        return {"said": list(await asyncio.gather(*(branch(name) for name in ("a", "b", "c"))))}

    world = await crashing(one_node(node, tools=[durable(weather, effect="read")]), {"said": []}, at)
    assert (await world.end())["said"] == ["sun in A!", "sun in B!", "sun in C!"]
    assert world.tool_calls == {"weather": 3}
    await world.close()


@pytest.mark.parametrize("at", [0, *range(2, 10)])
async def test_a_prompt_with_the_time_is_not_asked_again(at: int) -> None:
    model = Scripted(say=lambda messages: AIMessage(f"answer {len(messages)}"))
    clock = iter(range(100))

    async def node(_state: State) -> dict[str, Any]:
        first = await model.ainvoke(f"now is {next(clock)}")
        second = await model.ainvoke([("user", f"{next(clock)}"), ("user", "again")])
        return {"said": [str(first.content), str(second.content)]}

    world = await crashing(one_node(node), {"said": []}, at)
    world.execution._calls.grace_seconds = 0.01
    assert (await world.end())["said"] == ["answer 1", "answer 2"]
    assert len([i for i in world.items if isinstance(i, cmd.FinishStep)]) == 2
    await world.close()


async def test_streams_are_recorded_whole_and_read_back() -> None:
    model = Streaming(say=lambda _: AIMessage("one two three"))
    seen: list[list[str]] = []

    async def node(_state: State) -> dict[str, Any]:
        words = [str(chunk.content) async for chunk in model.astream("go")]
        seen.append([word for word in words if word])
        tail = await step(lambda: "x", name="x")
        return {"said": ["".join(words) + tail]}

    world = World(one_node(node), {"said": []})
    world.crash_after = lambda item: isinstance(item, cmd.FinishStep) and item.name == "x" and world.crashes == 0
    assert (await world.end())["said"] == ["one two three x"]
    assert seen == [["one ", "two ", "three "], ["one two three "]]
    assert len(model.asked) == 1
    await world.close()


async def test_structured_output_and_bound_models() -> None:
    model = Scripted(say=lambda _: AIMessage("", tool_calls=[call("population", "k", city="ulm")]))
    bound = model.bind_tools(langchain_tools(population)).with_config(tags=["x"]) | (lambda m: m.tool_calls[0]["args"]["city"])

    async def node(_state: State) -> dict[str, Any]:
        return {"said": [await bound.ainvoke("which?")]}

    world = World(one_node(node), {"said": []})
    assert (await world.end())["said"] == ["ulm"]
    assert len([i for i in world.items if isinstance(i, cmd.FinishStep)]) == 1
    await world.close()


async def test_a_tool_that_is_not_listed_is_denied() -> None:
    async def node(_state: State) -> dict[str, Any]:
        return {"said": [await weather.ainvoke({"city": "ulm"})]}

    world = World(one_node(node), {"said": []})
    failure = await world.failed()
    assert failure.type == "ToolDenied"
    assert "tools=[…]" in failure.message
    assert not any(isinstance(i, cmd.CallTool) for i in world.items)
    await world.close()


async def test_errors_of_tools_reach_langchains_own_handling() -> None:
    @lc_tool
    async def broken(city: str) -> str:
        """Breaks."""
        raise ToolException(f"no {city}")

    broken.handle_tool_error = True
    model = Scripted(
        say=lambda ms: (
            AIMessage("sorry") if isinstance(ms[-1], ToolMessage) else AIMessage("", tool_calls=[call("broken", "b", city="ulm")])
        )
    )
    world = World(LangGraphAgent("b", create_agent(model, [broken]), tools=[durable(broken, effect="read")]), ASKED)
    result = await world.end()
    assert [m["content"] for m in result["messages"] if m["type"] == "tool"] == ["no ulm"]
    await world.close()


async def test_a_retry_policy_asks_again_for_what_failed_only() -> None:
    tries = iter([False, True])

    def say(messages: Any) -> AIMessage:
        if messages[-1].content == "second" and not next(tries):
            raise ConnectionError("cut")
        return AIMessage("ok")

    model = Scripted(say=say)

    async def node(_state: State) -> dict[str, Any]:
        first = await model.ainvoke("first")
        second = await model.ainvoke("second")
        return {"said": [str(first.content), str(second.content)]}

    policy = RetryPolicy(initial_interval=0.001, max_attempts=3, jitter=False, retry_on=Exception)
    world = World(one_node(node, retry_policy=policy), {"said": []})
    assert (await world.end())["said"] == ["ok", "ok"]
    assert [str(asked[-1].content) for asked in model.asked] == ["first", "second", "second"]
    await world.close()


async def test_tools_that_change_the_state_run_in_their_node() -> None:
    @lc_tool
    def remember(what: str, state: Annotated[dict[str, Any], InjectedState], tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:
        """Remember something."""
        note = f"{what} after {len(state['messages'])}"
        return Command(update={"messages": [ToolMessage(note, tool_call_id=tool_call_id)]})

    with pytest.raises(TypeError, match="in_node"):
        durable(remember, effect="read")
    with pytest.raises(TypeError, match="durable"):
        LangGraphAgent("x", create_agent(Scripted(say=sunny), []), tools=[weather])  # type: ignore[list-item]

    def say(messages: Any) -> AIMessage:
        done = isinstance(messages[-1], ToolMessage)
        return AIMessage("done") if done else AIMessage("", tool_calls=[call("remember", "r", what="this")])

    world = World(LangGraphAgent("r", create_agent(Scripted(say=say), [remember]), tools=[in_node(remember)]), ASKED)
    result = await world.end()
    assert [m["content"] for m in result["messages"] if m["type"] == "tool"] == ["this after 2"]
    assert not world.tool_calls
    await world.close()


async def test_state_that_cannot_be_written_is_a_readable_failure() -> None:
    async def node(_state: State) -> dict[str, Any]:
        return {"said": [threading.Lock()]}

    world = World(one_node(node), {"said": []})
    failure = await world.failed()
    assert failure.type == "StateNotSerializable"
    assert "'said'" in failure.message
    assert "lock" in failure.message
    await world.close()


async def test_a_result_that_is_no_json_and_an_input_that_is_none() -> None:
    async def node(_state: State) -> dict[str, Any]:
        return {"said": ["x"]}

    world = World(one_node(node, output=lambda _: object()), {"said": []})
    assert (await world.failed()).type == "ResultNotEncodable"
    await world.close()
    world = World(one_node(node, output=lambda out: out["said"][-1]), None)
    assert "needs an input" in (await world.failed()).message
    await world.close()


async def test_a_graph_without_an_end_stops_at_its_recursion_limit() -> None:
    graph = StateGraph(State)
    graph.add_node("again", lambda _: {"said": ["x"]})
    graph.add_edge(START, "again")
    graph.add_edge("again", "again")
    world = World(LangGraphAgent("loop", graph.compile(), config=RunnableConfig(recursion_limit=5)), {"said": []})
    assert (await world.failed()).type == "GraphRecursionError"
    await world.close()


@pytest.mark.parametrize("at", [0, *range(2, 12)])
async def test_a_subgraph_without_checkpoints(at: int) -> None:
    model = Scripted(say=lambda messages: AIMessage(f"m{messages[-1].content}"))

    async def inner_node(state: State) -> dict[str, Any]:
        return {"said": [str((await model.ainvoke(state["said"][-1])).content)]}

    inner = StateGraph(State)
    inner.add_node("a", inner_node)
    inner.add_node("b", inner_node)
    inner.add_edge(START, "a")
    inner.add_edge("a", "b")
    stateless = inner.compile(checkpointer=False)

    async def node(state: State) -> dict[str, Any]:
        done = await stateless.ainvoke({"said": ["0"]})
        sun = await weather.ainvoke({"city": done["said"][-1]})
        return {"said": [sun]}

    world = await crashing(one_node(node, tools=[durable(weather, effect="read")]), {"said": []}, at)
    assert (await world.end())["said"] == ["sun in mm0"]
    assert world.tool_calls == {"weather": 1}
    assert len([i for i in world.items if isinstance(i, cmd.FinishStep)]) == 2
    await world.close()


async def test_a_tool_node_run_outside_of_a_run_is_what_it_was() -> None:
    graph = StateGraph(MessagesState)
    graph.add_node("tools", ToolNode([weather, *langchain_tools(population)]))
    graph.add_edge(START, "tools")
    calls = [call("weather", "w", city="ulm"), call("population", "p", city="ulm", year=2027)]
    result = await graph.compile().ainvoke({"messages": [AIMessage("", tool_calls=calls)]})
    assert [m.content for m in result["messages"][1:]] == ["sun in ulm", "128001"]


async def test_a_graph_invoked_in_a_plain_node_saves_from_its_threads() -> None:
    def leaf(state: State) -> dict[str, Any]:
        return {"said": [weather.invoke({"city": state["said"][-1]})]}

    inner = StateGraph(State)
    inner.add_node("leaf", leaf)
    inner.add_node("again", leaf)
    inner.add_edge(START, "leaf")
    inner.add_edge("leaf", "again")
    compiled = inner.compile()

    def node(_state: State) -> dict[str, Any]:
        return {"said": compiled.invoke({"said": ["ulm"]})["said"]}

    for at in (0, 3, 6, 9, 12):
        world = await crashing(one_node(node, tools=[durable(weather, effect="read")]), {"said": []}, at)
        assert (await world.end())["said"] == ["ulm", "sun in ulm", "sun in sun in ulm"]
        assert world.tool_calls == {"weather": 2}
        await world.close()


def test_what_a_late_thread_saves_has_seen_what_was_told() -> None:
    async def told() -> list[int]:
        context = contextvars.copy_context()
        calls = Calls(Book(), Activity(lambda: None, context), None, context)
        for seen in (1, 3, 2, 4):
            calls.items.append(cmd.CancelCall(seen=seen, target=CallId("x")))
        return [item.seen for item in calls.take_items()]

    assert asyncio.run(told()) == [1, 3, 3, 4]
