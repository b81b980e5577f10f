"""Models in nodes: what is shown while it comes, what is reserved before, what is charged after, and what has no price."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, StateGraph

from tests.unit.waypost.langgraph.models import Scripted, Streaming
from tests.unit.waypost.langgraph.world import RUN, World
from waypost import Usage
from waypost.execution import LocalEffect
from waypost.langgraph import LangGraphAgent
from waypost.step_scope import StepScope
from waypost_proto import commands as cmd
from waypost_proto.streams import Piece, TextPiece
from waypost_proto.values import Failure


class State(TypedDict):
    said: Annotated[list[str], operator.add]


class Priced(Scripted):
    """A model that the price table knows."""

    model_name: str = "gpt-5-mini"

    def _get_ls_params(self, stop: Any = None, **kwargs: Any) -> Any:
        return {"ls_provider": "openai", "ls_model_name": "gpt-5-mini", "ls_model_type": "chat", "ls_max_tokens": 1_000}


class Watched:
    """Where pieces go."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def begin(self, model: str, provider: str) -> None:
        self.seen.append(f"begin {model}")

    def piece(self, piece: Piece) -> None:
        self.seen.append(piece.text if isinstance(piece, TextPiece) else piece.arguments)

    def end(self, error: Failure | None = None) -> None:
        self.seen.append("end" if error is None else f"end {error.type}")


class Scoped(World):
    """A world whose steps have a scope, as on a worker."""

    watched: Watched
    cost_limited = False

    async def _effect(self, execution: Any, effect: LocalEffect) -> None:
        effect.scope = StepScope(run_id=RUN, call_id=effect.call_id, cost_limited=self.cost_limited, show=lambda: self.watched)
        await super()._effect(execution, effect)


def asking(model: Any, **options: Any) -> LangGraphAgent:
    async def node(_state: State) -> dict[str, Any]:
        return {"said": [str((await model.ainvoke("begin")).content)]}

    graph = StateGraph(State)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    return LangGraphAgent("asking", graph.compile(), **options)


@pytest.mark.parametrize("stream", [True, False])
async def test_answers_are_shown_while_they_come(stream: bool) -> None:
    world = Scoped(asking(Streaming(say=lambda _: AIMessage("one two")), stream=stream), {"said": []})
    world.watched = Watched()
    assert (await world.end())["said"][0].strip() == "one two"
    assert world.watched.seen == (["begin scripted", "one ", "two ", "end"] if stream else [])
    await world.close()


async def test_a_metered_run_reserves_before_it_asks() -> None:
    for options, least in (({}, 1_000), ({"reserve": Usage(tokens=77)}, 77)):
        model = Priced(say=lambda _: AIMessage("ok"))
        world = World(asking(model, **options), {"said": []})
        world.execution.metered(True)
        await world.until(lambda world=world: any(isinstance(i, cmd.RequestStep) for i in world.items))  # type: ignore[misc]
        (request,) = [item for item in world.items if isinstance(item, cmd.RequestStep)]
        assert request.reserve is not None
        assert request.reserve.tokens >= least
        assert not model.asked, "nobody has granted it"
        world.execution.grant(None)
        assert (await world.end())["said"] == ["ok"]
        (step,) = [item for item in world.items if isinstance(item, cmd.FinishStep)]
        assert step.usage is not None
        assert step.usage.cost_micros > 0
        await world.close()


async def test_a_model_without_a_price_is_not_asked_where_cost_is_limited() -> None:
    model = Scripted(say=lambda _: AIMessage("ok"))
    world = Scoped(asking(model), {"said": []})
    world.cost_limited = True
    failure = await world.failed()
    assert failure.type == "ModelFailed"
    assert "WAYPOST_PRICES_FILE" in failure.message
    assert not model.asked
    await world.close()
