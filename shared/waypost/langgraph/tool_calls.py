"""LangChain's tools inside a graph's nodes: each call goes to the gateway. `ToolStandIn` takes a tool's place for one call.

It is a tool itself, so the checking of arguments, callbacks and the shape of tool messages stay LangChain's own.
"""

from __future__ import annotations

from typing import Any

import msgspec
from langchain_core.tools import BaseTool, ToolException
from pydantic import ConfigDict

from waypost.errors import ToolDenied, ToolFailed
from waypost.langgraph.asking import call_tool, not_listed, place_of
from waypost.langgraph.driver import Driver
from waypost.langgraph.tools import GatewayTool, encode_arguments, waypost_name
from waypost.tools import Tool

_COPIED = (
    "name",
    "description",
    "args_schema",
    "return_direct",
    "verbose",
    "callbacks",
    "tags",
    "metadata",
    "handle_tool_error",
    "handle_validation_error",
    "response_format",
    "extras",
)


class ToolStandIn(BaseTool):
    """In place of `inner` for one call of `driver`'s graph; `key` is the model's id for the call."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    inner: BaseTool
    driver: Any
    key: str = ""

    @classmethod
    def of(cls, inner: BaseTool, run: Driver, key: str) -> ToolStandIn:
        """A stand-in for one call."""
        copied = {name: getattr(inner, name) for name in _COPIED if hasattr(inner, name)}
        return cls.model_construct(inner=inner, driver=run, key=key, **copied)

    async def _arun(self, *args: Any, **kwargs: Any) -> Any:
        run: Driver = self.driver
        tool = tool_of(self.inner, run)
        body = encode_arguments(tool.name, self._named(args, kwargs))
        try:
            result = msgspec.json.decode(await call_tool(run, tool, body, key=self.key, place=place_of(run)))
        except ToolFailed as error:
            if error.type == ToolException.__name__:
                raise ToolException(error.failure.message) from error  # LangChain's own handling is asked
            raise
        if self.response_format == "content_and_artifact":
            return result["content"], result["artifact"]
        return result

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        run: Driver = self.driver
        return run.calls.in_thread_of_node(lambda: self._arun(*args, **kwargs))

    def _named(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if not args:
            return kwargs
        names = list(self.inner.args)
        return {**dict(zip(names, args, strict=False)), **kwargs}


def tool_of(inner: BaseTool, run: Driver) -> Tool[..., Any]:
    """The Waypost tool that a LangChain tool stands for. Raises `ToolDenied` where the agent does not list it."""
    found = run.agent.tool_named(inner)
    if found is not None:
        return found
    name = inner.waypost_tool.name if isinstance(inner, GatewayTool) else waypost_name(inner.name)
    raise ToolDenied(name, "not called", not_listed(run, name))


def runs_in_node(tool: BaseTool, run: Driver) -> bool:
    """Whether the agent leaves it to the node."""
    return tool.name in run.agent.in_node


__all__ = ["ToolStandIn", "runs_in_node", "tool_of"]
