"""`agents.list`, `tools.list`: what is defined, and who hosts it right now."""

from __future__ import annotations

from waypost_coordinator.api.exchange import read
from waypost_coordinator.api.ports import Api
from waypost_io.bus.ports import Message
from waypost_proto.api import AgentPage, NameList, ToolPage


async def agents(api: Api, message: Message) -> AgentPage:
    """The current definition of every agent; no workers: runs of it stay pending until one comes."""
    read(NameList, message.body)
    limits = api.caller.agents
    return AgentPage(agents=[view for view in api.directory.agent_views() if not limits or view.definition.name in limits])


async def tools(api: Api, message: Message) -> ToolPage:
    """Every tool; no gateways: its calls wait until one comes."""
    read(NameList, message.body)
    return ToolPage(tools=api.directory.tool_views())
