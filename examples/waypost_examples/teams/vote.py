"""Several judge at the same time, each under its own point of view, and the majority decides."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Literal

from msgspec import Struct

from waypost import ChildFailed, Context, ReasoningAgent, agent
from waypost.models import ModelRequest
from waypost_examples.chosen_model import chosen_model

VIEWS = ("a careful accountant", "a curious engineer", "a busy customer", "a lawyer", "a gardener")


class Ballot(Struct, frozen=True):
    """What a juror is asked."""

    view: str
    proposal: str


class Vote(Struct, frozen=True):
    """What a juror says."""

    choice: Literal["yes", "no"]
    reason: str


class Verdict(Struct, frozen=True):
    """What the jury has decided, and how."""

    choice: Literal["yes", "no", "undecided"]
    votes: dict[str, str]


def judged(request: ModelRequest) -> str:
    """A juror offline: those who count things are against."""
    view = json.loads(request.messages[0].text)["view"]
    return json.dumps({"choice": "no" if "accountant" in view or "lawyer" in view else "yes", "reason": f"as {view} sees it"})


juror = ReasoningAgent(
    name="juror",
    model=chosen_model(judged, "scripted-juror"),
    instructions=lambda ballot: f"You are {ballot.view}. Vote on the proposal, yes or no, with one sentence that says why.",
    input=Ballot,
    output=Vote,
)


@agent(agents=[juror])
async def jury(ctx: Context, proposal: str) -> Verdict:
    """A juror that fails does not vote; the others decide."""
    ballots = [Ballot(view=view, proposal=proposal) for view in VIEWS]
    votes = await asyncio.gather(*(_vote(ctx, ballot) for ballot in ballots))
    counted = Counter(vote.choice for vote in votes if vote is not None)
    choice: Literal["yes", "no", "undecided"] = "undecided"
    if counted["yes"] != counted["no"]:
        choice = "yes" if counted["yes"] > counted["no"] else "no"
    return Verdict(choice=choice, votes={ballot.view: vote.choice for ballot, vote in zip(ballots, votes, strict=True) if vote is not None})


async def _vote(ctx: Context, ballot: Ballot) -> Vote | None:
    try:
        return await ctx.call(juror, ballot)
    except ChildFailed:
        return None
