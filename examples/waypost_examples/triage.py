"""Support triage in LangGraph: an ordinary `StateGraph` with a model, tools and an interrupt, durable with one line at its end.

A ticket is read by a model, which looks the order and the handbook up at once. What it then wants to refund goes to a person where it is
much, with a form made from `Decision`; the refund itself is an unsafe tool. Kill the worker whenever you like: no model call is paid twice,
and nobody is refunded twice.

    waypost dev waypost_examples.triage
    waypost run triage --input '{"messages": [{"role": "user", "content": "Order o-7 arrived broken, I want my 120 back"}]}' --wait
    waypost approvals list

Offline the model is a script. With OPENAI_API_KEY or ANTHROPIC_API_KEY set it is a real one (langchain and langchain-openai or
langchain-anthropic must be there).
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool as langchain_tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt
from pydantic import BaseModel

from waypost import ToolContext, tool
from waypost.langgraph import Asks, LangGraphAgent, call, durable

ORDERS = {"o-7": {"item": "lamp", "paid": 120.0}, "o-8": {"item": "bulb", "paid": 9.5}}
HANDBOOK = {"broken": "Broken on arrival: refund in full.", "late": "Late by more than a week: refund half."}
WITHOUT_ASKING = 50.0
"""Refunds up to this sum need nobody."""
INSTRUCTIONS = (
    "You triage support tickets of a lamp shop. Look the order and the handbook up, both in one answer. Then answer with one line of JSON: "
    '{"refund": <sum>, "order": "<id>", "reply": "<text for the customer>"}.'
)


class State(MessagesState):
    """The conversation, and what came of it."""

    order: str
    refund: float
    reply: str


class Decision(BaseModel):
    """What a person says to a refund."""

    approve: bool
    reason: str = ""


# -- tools: two of LangChain's, one of Waypost's


@langchain_tool
async def order(order_id: str) -> dict[str, Any]:
    """What was ordered, and what was paid for it."""
    return ORDERS.get(order_id, {"item": "unknown", "paid": 0.0})


@langchain_tool
async def handbook(topic: str) -> str:
    """What the handbook says about a topic: broken or late."""
    return HANDBOOK.get(topic, "Nothing: ask a colleague.")


@tool(effect="unsafe")
async def refund(ctx: ToolContext, order_id: str, amount: float) -> str:
    """Pay money back. The bank would be given the idempotency key."""
    return f"refund {ctx.idempotency_key[-8:]} of {amount:.2f} for {order_id}"


# -- the model


class Clerk(BaseChatModel):
    """A script in place of a model: it looks things up, and decides by the handbook."""

    @property
    def _llm_type(self) -> str:
        return "clerk"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[each.name for each in tools], **kwargs)

    def _generate(self, messages: list[BaseMessage], *_args: Any, **_kwargs: Any) -> ChatResult:
        said = self._say(messages)
        said.usage_metadata = {"input_tokens": 40 * len(messages), "output_tokens": 30, "total_tokens": 40 * len(messages) + 30}
        return ChatResult(generations=[ChatGeneration(message=said)])

    def _say(self, messages: list[BaseMessage]) -> AIMessage:
        found = {m.name: m.content for m in messages if isinstance(m, ToolMessage)}
        ticket = next(str(m.content) for m in messages if m.type == "human")
        number = (re.findall(r"o-\d+", ticket) or ["o-0"])[0]
        topic = "late" if "late" in ticket else "broken"
        if not found:
            calls = [("order", {"order_id": number}), ("handbook", {"topic": topic})]
            return AIMessage("", tool_calls=[{"name": n, "args": a, "id": f"{n}-{number}", "type": "tool_call"} for n, a in calls])
        paid = float(json.loads(str(found["order"]))["paid"])
        amount = paid if topic == "broken" else paid / 2
        return AIMessage(json.dumps({"refund": amount, "order": number, "reply": f"We are sorry. You get {amount:.2f} back."}))


def chosen() -> BaseChatModel:
    """The model that a key is set for, or the script."""
    names = {"OPENAI_API_KEY": "openai:gpt-5-mini", "ANTHROPIC_API_KEY": "anthropic:claude-sonnet-4-5"}
    name = next((name for key, name in names.items() if os.environ.get(key)), None)
    if name is None:
        return Clerk()
    from langchain.chat_models import init_chat_model

    return init_chat_model(name)


# -- the graph

LOOK_UP = [order, handbook]
MODEL = chosen().bind_tools(LOOK_UP)


async def read(state: State) -> dict[str, Any]:
    """The model reads the ticket, or what it has looked up."""
    return {"messages": [await MODEL.ainvoke([SystemMessage(INSTRUCTIONS), *state["messages"]])]}


def looks_up(state: State) -> str:
    """Whether the model wants to look something up."""
    last = state["messages"][-1]
    return "look_up" if isinstance(last, AIMessage) and last.tool_calls else "decide"


async def decide(state: State) -> dict[str, Any]:
    """What the model proposes; much money needs a person."""
    proposed = json.loads(str(state["messages"][-1].content))
    amount = float(proposed["refund"])
    if amount > WITHOUT_ASKING:
        question = f"Refund {amount:.2f} for order {proposed['order']}?"
        decision = interrupt({"question": question, "ticket": state["messages"][0].content}, response_schema=Decision)
        if not decision.approve:
            return {"order": proposed["order"], "refund": 0.0, "reply": f"We cannot refund this: {decision.reason}"}
    return {"order": proposed["order"], "refund": amount, "reply": proposed["reply"]}


async def pay(state: State) -> dict[str, Any]:
    """The refund, through the gateway."""
    if not state["refund"]:
        return {}
    receipt = await call(refund, state["order"], state["refund"])
    return {"reply": f"{state['reply']} ({receipt})"}


def built() -> Any:
    """The compiled graph, as LangGraph's users write it."""
    graph = StateGraph(State)
    graph.add_node("read", read)
    graph.add_node("look_up", ToolNode(LOOK_UP))
    graph.add_node("decide", decide)
    graph.add_node("pay", pay)
    graph.add_edge(START, "read")
    graph.add_conditional_edges("read", looks_up, ["look_up", "decide"])
    graph.add_edge("look_up", "read")
    graph.add_edge("decide", "pay")
    graph.add_edge("pay", END)
    return graph.compile()


triage = LangGraphAgent(
    "triage",
    built(),
    tools=[durable(order, effect="read"), durable(handbook, effect="read"), refund],
    asks=Asks(role="support"),
    output=lambda state: {"refund": state["refund"], "reply": state["reply"]},
    description="Reads a support ticket, looks things up, asks a person about large refunds, and refunds.",
)
