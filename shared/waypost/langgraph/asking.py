"""The calls that a graph's code can make of its run: a tool, a recorded step, a child run. Found by the current task or thread."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import Raw

from waypost.agents import Agent
from waypost.conversion import decode_value, encode_value
from waypost.errors import ApprovalDenied, ChildFailed, StepFailed, ToolDenied, ToolError, ToolFailed
from waypost.execution.effects import prepare_step
from waypost.langgraph.book import Ask, Call, Outcome
from waypost.langgraph.calls import INSIDE
from waypost.langgraph.driver import Driver
from waypost.langgraph.place import Place, here
from waypost.metering import Usage
from waypost.tools import Tool
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.errors import BadInput, ContractError
from waypost_proto.ids import CallId, child_run_id
from waypost_proto.values import Failure, RunStatus

R = TypeVar("R")
_DENIED = {"ToolDenied", "Denied", "ToolRefused"}
_APPROVAL_DENIED = {"ApprovalDenied", "ApprovalExpired", "ApprovalInvalid"}


def current() -> Driver | None:
    """The run whose graph the current code belongs to; None outside of one, and in the work of its own steps."""
    found: Driver | None = INSIDE.get()
    return found


def place_of(run: Driver, metadata: Mapping[str, Any] | None = None) -> Place:
    """The task of the graph that asks."""
    return here(run.namespaces, metadata)


async def call_tool(run: Driver, tool: Tool[..., Any], body: bytes, *, key: str = "", place: Place | None = None) -> bytes:
    """Run a tool by the gateway on JSON arguments; its result as JSON. `key`: the model's id for the call. Raises `ToolError`."""
    name = tool.name
    if not run.agent.allows_tool(name):
        raise ToolDenied(name, "not called", not_listed(run, name))
    place = place or place_of(run)
    calls, options = run.calls, tool.options

    def start(call: Call) -> None:
        calls.issue(
            cmd.CallTool(
                seen=calls.seen,
                id=call.id,
                tool=name,
                args=Raw(body),
                timeout_seconds=options.timeout_seconds,
                retry=options.retry,
                approval=options.approval.to_wire() if options.approval is not None else None,
                reserve=options.reserve.to_wire() if options.reserve is not None else None,
                because=run.chosen.get(key),
            )
        )
        calls.steps.spend()

    outcome = await calls.ask(
        Ask(task=place.task, kind="tool", name=name, body=body, key=key, attempt=place.attempt, anchor=place.anchor), place.task_id, start
    )
    if outcome.error is not None:
        raise tool_error(name, outcome)
    return outcome.value


def tool_error(name: str, outcome: Outcome) -> ToolError:
    """The error of a tool call that has ended without a result."""
    failure = outcome.error or Failure(type="ToolFailed", message="")
    call_id = getattr(outcome.event, "call_id", "")
    if failure.type in _APPROVAL_DENIED:
        return ApprovalDenied(name, call_id, failure)
    return (ToolDenied if failure.type in _DENIED else ToolFailed)(name, call_id, failure)


def not_listed(run: Driver, name: str) -> Failure:
    """Why a tool that is not on the allow-list is denied."""
    return Failure(type="ToolDenied", message=f"agent {run.agent.name!r} may not call {name!r}: add it to its tools=[…]")


async def step(function: Callable[..., Any], *args: Any, name: str | None = None, reserve: Usage | None = None) -> Any:
    """Run `function(*args)` in a node and record its result: anything random, slow or with I/O that is neither model nor tool.

    A node that runs again gets the recorded result. At least once: after a crash before the record it runs again. The result is JSON
    and comes back as the declared return type. A plain function runs in a thread. Raises `StepFailed` with what the function raised.
    Outside a run it just runs the function. In a plain (not `async def`) node use `step_now`.
    """
    run = current()
    label, returns, prepared = prepare_step(function, args, name)
    if run is None:
        result = function(*args)
        return await result if inspect.isawaitable(result) else result
    place = place_of(run)

    def start(call: Call) -> None:
        run.calls.begin_step(call, lambda _effect: prepared(), None if reserve is None else reserve.to_wire())

    body = await _step(
        run,
        Ask(task=place.task, kind="step", name=label, body=_asked(args), attempt=place.attempt, anchor=place.anchor),
        place.task_id,
        start,
    )
    return decode_value(f"the result of step {label!r}", returns, body)


def step_now(function: Callable[..., R], *args: Any, name: str | None = None) -> R:
    """`step` for plain nodes, which run in threads: it waits in the thread, and runs a plain function there. Raises `StepFailed`."""
    run = current()
    if run is None:
        return function(*args)

    async def make() -> R:
        result: R = await step(function, *args, name=name)
        return result

    return run.calls.in_thread_of_node(make)


async def _step(run: Driver, ask: Ask, task_id: str, start: Callable[[Call], None]) -> bytes:
    outcome = await run.calls.ask(ask, task_id, start)
    if outcome.error is not None:
        raise StepFailed(ask.name, ask.task, outcome.error)
    return outcome.value


def _asked(args: tuple[Any, ...]) -> bytes:
    """What tells steps of one name apart: their arguments as JSON, where they can be written so."""
    try:
        return encode_value("the arguments of a step", args)
    except BadInput:
        return b""


async def call(target: Tool[..., Any] | Agent[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`ctx.call` for nodes: wait for a tool or a child run that the agent lists, and return its result as its declared type.

    Raises `ToolError` or `ChildFailed`; `ContractError` outside a run.
    """
    run = current()
    if run is None:
        raise ContractError(f"waypost.langgraph.call({target!r}) belongs into a node of a graph that runs as an agent")
    if isinstance(target, Tool):
        value = await call_tool(run, target, target.bind(*args, **kwargs))
        return decode_value(f"the result of tool {target.name!r}", target.returns, value)
    return await _call_child(run, target, target.bind(*args, **kwargs))


async def _call_child(run: Driver, agent: Agent[..., Any], body: bytes) -> Any:
    name = agent.name
    if not run.agent.allows_agent(name):
        raise ToolDenied(name, "not called", not_listed(run, name))
    place, calls = place_of(run), run.calls

    def start(call: Call) -> None:
        calls.issue(
            cmd.StartChild(
                seen=calls.seen,
                id=call.id,
                agent=name,
                input=Raw(body),
                budget=agent.options.budget,
                timeout_seconds=agent.options.timeout_seconds,
            )
        )
        calls.steps.spend()

    outcome = await calls.ask(
        Ask(task=place.task, kind="child", name=name, body=body, attempt=place.attempt, anchor=place.anchor), place.task_id, start
    )
    if outcome.error is not None:
        event = outcome.event
        status = event.status if isinstance(event, ev.ChildFailed) else RunStatus.FAILED
        child = event.child_run_id if isinstance(event, ev.ChildFailed) else child_run_id(run.beginning.run_id, CallId(""))
        raise ChildFailed(name, child, RunStatus(status), outcome.error)
    return decode_value(f"the result of agent {name!r}", agent.returns, outcome.value)


__all__ = ["call", "call_tool", "current", "not_listed", "place_of", "step", "step_now", "tool_error"]
