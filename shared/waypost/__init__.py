"""Durable agents in plain asyncio: what users import.

    from waypost import agent, tool, Approval, Budget, Context, ToolContext, Retry, NOT_DONE
    from waypost import Client, ReasoningAgent          # imported when they are first used: durable functions do without them
    from waypost import LangGraphAgent                  # the same; needs the extra `langgraph`

`waypost.execution` is for whoever executes agents.
"""

from typing import TYPE_CHECKING, Any

from waypost.agents import Agent
from waypost.context import ArgumentEdit, Context, RunHandle
from waypost.errors import (
    ApprovalDenied,
    ChildFailed,
    DoNotRetry,
    NotExecuted,
    RetryLater,
    RunFailed,
    StepFailed,
    ToolDenied,
    ToolError,
    ToolFailed,
    Unanswered,
    WaypostError,
)
from waypost.function_agents import FunctionAgent, agent
from waypost.metering import Usage, report
from waypost.modules import hosted, load_module
from waypost.options import Approval, Backoff, Breaker, Budget, Rate, Retry
from waypost.tool_context import NOT_DONE, SecretMissing, ToolContext
from waypost.tools import Tool, remote_tool, tool
from waypost_proto.usage import LoopLimits

if TYPE_CHECKING:
    from waypost.client import Client
    from waypost.langgraph import LangGraphAgent
    from waypost.reasoning import ReasoningAgent

__all__ = [
    "NOT_DONE",
    "Agent",
    "Approval",
    "ApprovalDenied",
    "ArgumentEdit",
    "Backoff",
    "Breaker",
    "Budget",
    "ChildFailed",
    "Client",
    "Context",
    "DoNotRetry",
    "FunctionAgent",
    "LangGraphAgent",
    "LoopLimits",
    "NotExecuted",
    "Rate",
    "ReasoningAgent",
    "Retry",
    "RetryLater",
    "RunFailed",
    "RunHandle",
    "SecretMissing",
    "StepFailed",
    "Tool",
    "ToolContext",
    "ToolDenied",
    "ToolError",
    "ToolFailed",
    "Unanswered",
    "Usage",
    "WaypostError",
    "agent",
    "hosted",
    "load_module",
    "remote_tool",
    "report",
    "tool",
]


def __getattr__(name: str) -> Any:
    if name == "Client":
        from waypost.client import Client

        return Client
    if name == "ReasoningAgent":
        from waypost.reasoning import ReasoningAgent

        return ReasoningAgent
    if name == "LangGraphAgent":
        from waypost.langgraph import LangGraphAgent

        return LangGraphAgent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
