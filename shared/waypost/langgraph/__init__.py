"""LangGraph graphs as durable agents (extra `langgraph`).

    from waypost.langgraph import LangGraphAgent, durable, langchain_tools, step

    triage = LangGraphAgent("triage", graph, tools=[durable(search, effect="read"), refund])

Checkpoints are on the run's log, models and tools that nodes call are recorded one by one, `interrupt()` asks people.
"""

from waypost.langgraph import _installed  # noqa: F401 - first: it says what to install
from waypost.langgraph.agent import LangGraphAgent
from waypost.langgraph.asking import call, step, step_now
from waypost.langgraph.errors import ModelFailed
from waypost.langgraph.history import Past, fork, past
from waypost.langgraph.pieces import StateNotSerializable
from waypost.langgraph.questions import Asks
from waypost.langgraph.saver import LogSaver
from waypost.langgraph.tools import LangChainTool, durable, in_node, langchain_tools

__all__ = [
    "Asks",
    "LangChainTool",
    "LangGraphAgent",
    "LogSaver",
    "ModelFailed",
    "Past",
    "StateNotSerializable",
    "call",
    "durable",
    "fork",
    "in_node",
    "langchain_tools",
    "past",
    "step",
    "step_now",
]
