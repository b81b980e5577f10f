"""docs/langgraph.md and docs/choosing.md: the example lives, every option is told."""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from tests.unit.docs.pages import run_blocks, text_of
from tests.unit.waypost.langgraph.models import Scripted, call
from tests.unit.waypost.langgraph.world import World
from waypost.langgraph import LangGraphAgent


def say(messages: Any) -> AIMessage:
    made = [m.name for m in messages if isinstance(m, ToolMessage)]
    if not made:
        return AIMessage("", tool_calls=[call("search_orders", "k1", customer="ann")])
    if made == ["search_orders"]:
        return AIMessage("", tool_calls=[call("refund_order", "k2", order="o-1", amount=40)])
    return AIMessage("paid back")


@pytest.mark.parametrize(("yes", "ends"), [(True, "paid back"), (False, "No refund: no")])
async def test_the_example_of_the_page_lives(yes: bool, ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = types.ModuleType("my_app")
    app.chat_model = Scripted(say=say)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_app", app)
    page = run_blocks("langgraph.md")
    world = World(page.support, {"messages": [("user", "my kettle is broken")]}, answer=lambda _: {"yes": yes, "reason": "no"})
    result = await world.end()
    assert result["messages"][-1]["content"] == ends
    assert world.tool_calls == ({"search-orders": 1, "refund-order": 1} if yes else {"search-orders": 1})
    assert [question.role for question in world.questions] == ["support"]
    await world.close()


def test_every_option_is_told() -> None:
    table = text_of("langgraph.md").split("## Options\n", 1)[1].split("\n## ", 1)[0]
    for name in set(inspect.signature(LangGraphAgent.__init__).parameters) - {"self", "name", "graph"}:
        assert f"`{name}`" in table, name
