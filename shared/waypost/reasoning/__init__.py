"""Agents in which a model decides: `ReasoningAgent` and what can be said about one."""

from waypost.reasoning.agent import ReasoningAgent
from waypost.reasoning.handing_over import without_calls
from waypost.reasoning.options import Called, Handoff, Progress, Questions, Window

__all__ = ["Called", "Handoff", "Progress", "Questions", "ReasoningAgent", "Window", "without_calls"]
