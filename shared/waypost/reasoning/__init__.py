"""Agents in which a model decides: `ReasoningAgent` and what can be said about one."""

from waypost.reasoning.agent import ReasoningAgent
from waypost.reasoning.options import Called, Progress, Questions, Window

__all__ = ["Called", "Progress", "Questions", "ReasoningAgent", "Window"]
