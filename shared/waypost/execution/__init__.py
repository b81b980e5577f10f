"""One run in memory, for whoever executes agents: the worker, and tests."""

from waypost.execution.effects import EffectResult, LocalEffect, failure_of
from waypost.execution.execution import Execution, refs_of
from waypost.execution.ports import AgentExecution, Beginning, GraphShown

__all__ = ["AgentExecution", "Beginning", "EffectResult", "Execution", "GraphShown", "LocalEffect", "failure_of", "refs_of"]
