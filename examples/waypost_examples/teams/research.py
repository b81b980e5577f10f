"""A lead that sends researchers out in parallel, each with a tool of its own, and writes a report with its sources."""

from __future__ import annotations

import json

from msgspec import Struct

from waypost import Budget, ReasoningAgent, tool
from waypost.models import AssistantMessage, ModelRequest, ToolMessage
from waypost.models.scripted import Answer, uses
from waypost_examples.chosen_model import chosen_model

SHELVES = {
    "durability": ["A result that is recorded is never computed again.", "A log without gaps can be replayed."],
    "cost": ["Replay costs no model call.", "Limits are reserved before they are spent."],
    "people": ["An approval is bound to the exact arguments.", "A question waits for days and holds nothing."],
}
"""The library: a few facts by topic, so that the example needs no network."""


class Finding(Struct, frozen=True):
    """What one researcher has found on one topic."""

    topic: str
    facts: list[str]


class Report(Struct, frozen=True):
    """The lead's answer: a summary, and what it rests on."""

    question: str
    summary: str
    findings: list[Finding]


@tool(effect="read", taint="library")
async def library(topic: str) -> list[str]:
    """Looks a topic up in the library: durability, cost or people."""
    return SHELVES.get(topic, [])


def look_up(request: ModelRequest) -> Answer:
    """The researcher offline: one look-up, then what was found."""
    topic = request.messages[0].text
    last = request.messages[-1]
    if not isinstance(last, ToolMessage):
        return uses("library", json.dumps({"topic": topic}))
    facts = json.loads(last.text.split("\n", 1)[-1])  # the first line says where it comes from
    return json.dumps({"topic": topic, "facts": facts})


def lead(request: ModelRequest) -> Answer:
    """The lead offline: everybody at once, then the report."""
    if not any(isinstance(message, AssistantMessage) for message in request.messages):
        return [uses("researcher", json.dumps({"input": topic}), id=f"ask-{topic}") for topic in SHELVES]
    findings = [json.loads(message.text.split("\n", 1)[-1]) for message in request.messages if isinstance(message, ToolMessage)]
    summary = " ".join(finding["facts"][0] for finding in findings if finding["facts"])
    return json.dumps({"question": request.messages[0].text, "summary": summary, "findings": findings})


researcher = ReasoningAgent(
    name="researcher",
    model=chosen_model(look_up, "scripted-researcher"),
    instructions="You research one topic. Look it up in the library once, and report the facts word for word.",
    tools=[library],
    input=str,
    output=Finding,
    description="Researches one topic (durability, cost or people) and reports the facts.",
    max_turns=6,
)

research_lead = ReasoningAgent(
    name="research-lead",
    model=chosen_model(lead, "scripted-lead"),
    instructions=(
        "You lead a research team. Send a researcher to each of the topics durability, cost and people, all in one answer, so that they "
        "work at the same time. Then answer the question in two or three sentences, from their findings alone."
    ),
    tools=[researcher],
    input=str,
    output=Report,
    budget=Budget(max_steps=60, max_cost_usd=1),
)
