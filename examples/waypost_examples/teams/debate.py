"""Two argue in rounds, each answering the other; a third decides, who has not taken part."""

from __future__ import annotations

import json
from typing import Literal

from msgspec import Struct

from waypost import Context, ReasoningAgent, agent
from waypost.models import ModelRequest
from waypost.models.scripted import Script
from waypost_examples.chosen_model import chosen_model

ROUNDS = 2


class Motion(Struct, frozen=True):
    """What is argued about, and what was said so far."""

    question: str
    said: list[str] = []


class Ruling(Struct, frozen=True):
    """Who was more convincing."""

    winner: Literal["advocate", "skeptic"]
    reason: str


def argued(side: str) -> str:
    return f"You argue {side} in a debate. Answer what was said last, in two sentences. Facts, not adjectives."


def speak(side: str) -> Script:
    """A debater offline."""

    def script(request: ModelRequest) -> str:
        motion = json.loads(request.messages[0].text)
        return f"{side} point {len(motion['said']) // 2 + 1} on {motion['question']}"

    return script


def rule(request: ModelRequest) -> str:
    """The judge offline: the longer list of points wins, and a tie goes to doubt."""
    said = json.loads(request.messages[0].text)["said"]
    more = sum(text.startswith("For") for text in said) * 2 > len(said)
    return json.dumps({"winner": "advocate" if more else "skeptic", "reason": f"{len(said)} points were made"})


advocate = ReasoningAgent(
    name="advocate", model=chosen_model(speak("For"), "scripted-advocate"), instructions=argued("for the motion"), input=Motion
)
skeptic = ReasoningAgent(
    name="skeptic", model=chosen_model(speak("Against"), "scripted-skeptic"), instructions=argued("against the motion"), input=Motion
)
judge = ReasoningAgent(
    name="judge",
    model=chosen_model(rule, "scripted-judge"),
    instructions="You judge a debate by its arguments alone, and say in one sentence why.",
    input=Motion,
    output=Ruling,
)


@agent(agents=[advocate, skeptic, judge])
async def debate(ctx: Context, question: str) -> Ruling:
    """People see what was said while it goes on."""
    said: list[str] = []
    for _ in range(ROUNDS):
        for speaker in (advocate, skeptic):
            said.append(await ctx.call(speaker, Motion(question=question, said=list(said))))
            ctx.set_state({"said": said})
    return await ctx.call(judge, Motion(question=question, said=said))
