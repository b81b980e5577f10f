"""A module that defines agents, as a worker hosts it."""

from __future__ import annotations

from tests.unit.waypost.reasoning.fake import Fake
from waypost import ReasoningAgent

thinker = ReasoningAgent(name="thinker", model=Fake("x"), instructions="You think.")
again = thinker.using(timeout=5)
other = ReasoningAgent(name="other", model=Fake("x"), instructions="You think too.", tools=[thinker])
