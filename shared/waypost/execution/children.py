"""The handle of a child run that an agent's code holds."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from waypost.agents import Agent
from waypost.conversion import decode_value
from waypost.errors import ChildFailed
from waypost_proto import events as ev
from waypost_proto.ids import CallId, child_run_id
from waypost_proto.values import RunStatus

if TYPE_CHECKING:
    from waypost.execution.engine import RunEngine

Outcome = tuple[Any, bytes]
"""An outside event or local result, and the JSON of its value."""


class ChildHandle:
    """`waypost.context.RunHandle` of a child run."""

    __slots__ = ("_agent", "_call_id", "_engine", "_future", "run_id")

    def __init__(self, engine: RunEngine, agent: Agent[..., Any], call_id: CallId, future: asyncio.Future[Outcome]) -> None:
        self.run_id = child_run_id(engine.identity, call_id)
        self._engine = engine
        self._agent = agent
        self._call_id = call_id
        self._future = future

    def __repr__(self) -> str:
        return f"<child run {self.run_id} of {self._agent.name!r}>"

    async def result(self) -> Any:
        return self._decode(*await asyncio.shield(self._future))

    def __await__(self) -> Generator[Any, None, Any]:
        return self.result().__await__()

    def cancel(self) -> None:
        if self._engine.abandon(self._call_id):
            self._future.cancel()

    async def awaited(self) -> Any:
        """For `ctx.call`: cancelling the wait cancels the child."""
        return self._decode(*await self._engine._await(self._call_id, self._future))

    def _decode(self, outcome: object, value: bytes) -> Any:
        name = self._agent.name
        if isinstance(outcome, ev.ChildFailed):
            raise ChildFailed(name, self.run_id, RunStatus(outcome.status), outcome.error)
        return decode_value(f"the result of agent {name!r}", self._agent.returns, value)


__all__ = ["ChildHandle", "Outcome"]
