"""LangGraph graphs as durable agents (extra `langgraph`).

    from waypost.langgraph import LangGraphAgent, durable, langchain_tools, step

    triage = LangGraphAgent("triage", graph, tools=[durable(search, effect="read"), refund])

Checkpoints are on the run's log, models and tools that nodes call are recorded one by one, `interrupt()` asks people.
"""

try:
    import langgraph  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("LangGraph is not installed: pip install 'waypost[langgraph]'", name=error.name) from error

from waypost.langgraph.agent import LangGraphAgent
from waypost.langgraph.asking import call, step, step_now
from waypost.langgraph.errors import ModelFailed
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
    "StateNotSerializable",
    "call",
    "durable",
    "in_node",
    "langchain_tools",
    "step",
    "step_now",
]
