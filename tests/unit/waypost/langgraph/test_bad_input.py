"""What models of nodes may do wrong: each has an outcome that is recorded and readable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool as lc_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.unit.waypost.langgraph.models import Scripted, call
from tests.unit.waypost.langgraph.world import World
from waypost.langgraph import LangGraphAgent, ModelFailed, durable
from waypost_proto import commands as cmd

ASKED = {"messages": [{"role": "user", "content": "go"}]}


@lc_tool
async def look_up(name: str, depth: int = 1) -> str:
    """Look somebody up."""
    return f"{name} lives in Ulm"


class RateLimited(Exception):
    """As a provider's SDK raises it, after its own retries."""


class Failing(Scripted):
    """Does something else than answer."""

    how: Any = None

    async def _agenerate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        await self.how()
        raise AssertionError("unreachable")


class Cut(Scripted):
    """Breaks off after some pieces."""

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        yield ChatGenerationChunk(message=AIMessageChunk(content="half an"))
        raise ConnectionError("the peer closed the connection")


class Silent(Cut):
    """Ends its stream before it began."""

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in ():
            yield chunk


def asks(model: Any, **options: Any) -> LangGraphAgent:
    """One node that asks, and whatever tools its answer chooses."""
    bound = model.bind_tools([look_up])

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode([look_up]))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return LangGraphAgent("asks", graph.compile(), tools=[durable(look_up, effect="read")], **options)


def recorded(world: World, kind: str) -> list[Any]:
    return [msgspec.json.decode(entry.data) for entry in world.log if entry.type == kind]


async def _limited() -> None:
    raise RateLimited("429: slow down, retry after 20 s")


async def _broken() -> None:
    raise RuntimeError("500: the server had an error")


async def _hangs() -> None:
    await asyncio.Event().wait()


async def _own_timeout() -> None:
    raise TimeoutError("the client gave up")


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        (Failing(say=None, how=_limited), "RateLimited", "429: slow down"),
        (Failing(say=None, how=_broken), "RuntimeError", "500: the server"),
        (Failing(say=None, how=_hangs), "ModelTimeout", "no whole answer within 0.05 s"),
        (Failing(say=None, how=_own_timeout), "TimeoutError", "the client gave up"),
        (Cut(say=None), "ConnectionError", "the peer closed"),
        (Silent(say=None), "ValueError", "ended without a piece"),
    ],
    ids=["429", "500", "hangs", "own time-out", "cut", "no piece"],
)
async def test_a_model_that_does_not_answer(model: Any, kind: str, words: str) -> None:
    world = World(asks(model, stream=True, model_timeout=0.05), ASKED)
    failure = await world.failed()
    await world.close()
    assert failure.type == ModelFailed.__name__
    assert words in failure.message
    (step,) = recorded(world, "step_failed")
    assert step["error"]["type"] == kind
    assert words in step["error"]["message"]
    (item,) = [item for item in world.items if isinstance(item, cmd.FinishStep)]
    assert item.model is not None
    assert item.model.request_digest


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (AIMessage("", tool_calls=[call("delete_all", "k")]), "delete_all is not a valid tool, try one of [look_up]"),
        (AIMessage("", tool_calls=[call("look_up", "k", name="ada", depth="deep")]), "depth: Input should be a valid integer"),
        (AIMessage("", tool_calls=[call("look_up", "k")]), "name: Field required"),
    ],
    ids=["unknown tool", "wrong type", "nothing"],
)
async def test_a_choice_that_cannot_be_made_is_told_to_the_model(answer: AIMessage, words: str) -> None:
    model = Scripted(say=lambda messages: AIMessage("sorry") if isinstance(messages[-1], ToolMessage) else answer.model_copy())
    world = World(asks(model), ASKED)
    result = await world.end()
    await world.close()
    (told,) = [message["content"] for message in result["messages"] if message["type"] == "tool"]
    assert words in told
    assert not world.tool_calls
    assert len(recorded(world, "step_completed")) == 2


@pytest.mark.parametrize(
    ("answer", "finish"),
    [
        (AIMessage(""), "stop"),
        (AIMessage("I will not.", response_metadata={"finish_reason": "content_filter"}), "refusal"),
        (AIMessage("", invalid_tool_calls=[{"name": "look_up", "args": "{no json", "id": "k", "error": "no json"}]), "stop"),
        (AIMessage("x" * 10_000_000), "stop"),
    ],
    ids=["empty", "refusal", "invalid JSON", "10 MB"],
)
async def test_an_answer_is_recorded_whatever_it_says(answer: AIMessage, finish: str) -> None:
    world = World(asks(Scripted(say=lambda _: answer.model_copy())), ASKED)
    result = await world.end()
    await world.close()
    assert result["messages"][-1]["content"] == answer.content
    (step,) = recorded(world, "step_completed")
    assert step["model"]["finish"] == finish
