"""`agents.list`, `tools.list`: what is defined, who hosts it right now, and what waits for them."""

from __future__ import annotations

from msgspec.structs import replace

from waypost_coordinator.api.exchange import read
from waypost_coordinator.api.ports import Api
from waypost_coordinator.api.queues import Lying
from waypost_io.bus.ports import Message
from waypost_proto.api import AgentPage, NameList, ToolPage


async def agents(api: Api, message: Message) -> AgentPage:
    """The current definition of every agent; no workers: runs of it stay pending until one comes."""
    asked = read(NameList, message.body)
    limits = api.caller.agents
    views = [view for view in api.directory.agent_views() if not limits or view.definition.name in limits]
    lying = await _lying(api, asked, "WORK", api.subjects.all_work())
    if lying is not None:
        views = [replace(view, queues=lying.of_agent(api.subjects, view.definition.name, view.workers)) for view in views]
    return AgentPage(agents=views)


async def tools(api: Api, message: Message) -> ToolPage:
    """Every tool; no gateways: its calls wait until one comes."""
    asked = read(NameList, message.body)
    views = api.directory.tool_views()
    lying = await _lying(api, asked, "TOOLS", api.subjects.all_tools())
    if lying is not None:
        views = [replace(view, queue=lying.of_tool(api.subjects, view.definition.name)) for view in views]
    return ToolPage(tools=views)


async def _lying(api: Api, asked: NameList, stream: str, subject: str) -> Lying | None:
    """What waits there, if that was asked for by somebody of the house: queues are not kept by tenant or by who started what."""
    if not asked.queues or not api.caller.of_the_house:
        return None
    return await api.queues.look(api.bus, api.subjects.stream(stream), subject)
