"""One agent after another: an outline, a draft, an edited article. Plain code decides the order, a model does each part."""

from __future__ import annotations

import json

from msgspec import Struct

from waypost import Context, ReasoningAgent, agent
from waypost.models import ModelRequest
from waypost_examples.chosen_model import chosen_model


class Outline(Struct, frozen=True):
    """What an article is to say, point by point."""

    topic: str
    points: list[str]


class Draft(Struct, frozen=True):
    """A text with the outline that it follows."""

    outline: Outline
    text: str


def outline(request: ModelRequest) -> str:
    """The outliner offline."""
    return json.dumps({"topic": request.messages[0].text, "points": ["why", "how", "what it costs"]})


outliner = ReasoningAgent(
    name="outliner",
    model=chosen_model(outline, "scripted-outliner"),
    instructions="You outline a short article on the topic that you are given: three points of a few words.",
    output=Outline,
)


def write(request: ModelRequest) -> str:
    """The writer offline."""
    return f"An article about {request.messages[0].text}, point by point."


writer = ReasoningAgent(
    name="writer",
    model=chosen_model(write, "scripted-writer"),
    instructions="You write one paragraph that follows the outline, in plain words.",
    input=Outline,
)

editor = ReasoningAgent(
    name="editor",
    model=chosen_model(lambda request: "Edited: " + request.messages[0].text[:200], "scripted-editor"),
    instructions="You edit the draft: shorter, and nothing that the outline does not hold.",
    input=Draft,
)


@agent(agents=[outliner, writer, editor])
async def article(ctx: Context, topic: str) -> str:
    """Each part is a run of its own: with a log, limits and a place to go on after a crash."""
    plan = await ctx.call(outliner, topic)
    text = await ctx.call(writer, plan)
    return await ctx.call(editor, Draft(outline=plan, text=text))
