"""How models and tools find the run whose graph they are called in: the methods that every call passes are wrapped, once, for the process.

In the code of a graph's run a stand-in takes the place of the model or tool for that call; everywhere else the wrapped method is what it
was. LangChain offers no other place: callbacks cannot answer for a model, a cache does not see streams, failures or sync tools
(decision 0283).
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.tools import BaseTool, StructuredTool, Tool

from waypost.langgraph.asking import current
from waypost.langgraph.models import StandIn
from waypost.langgraph.tool_calls import ToolStandIn, runs_in_node

_MARK = "__waypost__"


def install() -> None:
    """Wrap the methods. Idempotent."""
    if getattr(BaseTool.arun, _MARK, False):
        return
    for name in ("generate", "agenerate"):
        _wrap(BaseChatModel, name, _model)
    _wrap_stream()
    for name in ("run", "arun"):
        _wrap(BaseTool, name, _tool)
    for kind in (StructuredTool, Tool):
        _wrap_ainvoke(kind)


def _model(model: BaseChatModel, _kwargs: dict[str, Any]) -> BaseChatModel:
    run = current()
    return model if run is None or isinstance(model, StandIn) else StandIn.of(model, run)


def _tool(tool: BaseTool, kwargs: dict[str, Any]) -> BaseTool:
    run = current()
    if run is None or isinstance(tool, ToolStandIn) or runs_in_node(tool, run):
        return tool
    return ToolStandIn.of(tool, run, kwargs.get("tool_call_id") or "")


def _wrap(kind: type[Any], name: str, stand_in: Any) -> None:
    original = getattr(kind, name)

    @functools.wraps(original)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(stand_in(self, kwargs), *args, **kwargs)

    setattr(wrapped, _MARK, True)
    setattr(kind, name, wrapped)


def _wrap_stream() -> None:
    stream, astream = BaseChatModel.stream, BaseChatModel.astream

    @functools.wraps(stream)
    def streamed(self: BaseChatModel, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from stream(_model(self, kwargs), *args, **kwargs)

    @functools.wraps(astream)
    async def astreamed(self: BaseChatModel, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async for chunk in astream(_model(self, kwargs), *args, **kwargs):
            yield chunk

    BaseChatModel.stream = streamed  # type: ignore[method-assign]
    BaseChatModel.astream = astreamed  # type: ignore[method-assign]


def _wrap_ainvoke(kind: type[BaseTool]) -> None:
    """A tool without a coroutine would wait in a thread for its answer, as long as that takes: in a run it need not."""
    original = kind.ainvoke

    @functools.wraps(original)
    async def wrapped(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        run = current()
        if run is None or runs_in_node(self, run):
            return await original(self, *args, **kwargs)
        return await BaseTool.ainvoke(self, *args, **kwargs)

    kind.ainvoke = wrapped  # type: ignore[method-assign]


__all__ = ["install"]
