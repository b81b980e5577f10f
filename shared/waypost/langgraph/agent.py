"""Agents that are LangGraph graphs: `LangGraphAgent("triage", graph, tools=[…])`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.pregel import Pregel
from langgraph.types import Interrupt
from msgspec import Raw
from pydantic_core import to_jsonable_python

from waypost.agents import Agent, policy_of
from waypost.conversion import decode_value, encode_value
from waypost.errors import Unanswered
from waypost.langgraph.interception import install
from waypost.langgraph.questions import Asks
from waypost.langgraph.stream_modes import Mode, modes_of
from waypost.langgraph.tools import GatewayTool, InNode, LangChainTool
from waypost.metering import Usage
from waypost.options import Budget, Seconds, seconds_of
from waypost.targets import Target
from waypost.tools import Tool
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput
from waypost_proto.ids import check_name
from waypost_proto.registry import AgentDefinition
from waypost_proto.usage import LoopLimits

if TYPE_CHECKING:
    from waypost.execution.ports import AgentExecution, Beginning

Durability = Literal["sync", "async"]


class LangGraphAgent(Agent[..., Any]):
    """A compiled graph as an agent. A run is a thread of its own, whose id is the run's."""

    kind = "langgraph"
    runs_beside = True

    def __init__(  # noqa: PLR0913 - each is an option of the definition, by keyword
        self,
        name: str,
        graph: Pregel[Any, Any, Any, Any],
        *,
        tools: Sequence[Target[..., Any] | InNode] = (),
        agents: Sequence[Target[..., Any]] = (),
        output: Callable[[Any], Any] | None = None,
        asks: Asks | str = "operator",
        unanswered: Callable[[Interrupt[Any], Unanswered], Any] | None = None,
        reserve: Usage | None = None,
        model_timeout: Seconds | None = 600,
        stream: bool | Mode | Collection[Mode] = False,
        config: RunnableConfig | None = None,
        context: Any = None,
        durability: Durability = "async",
        serializer: SerializerProtocol | None = None,
        budget: Budget | None = None,
        version: str = "1",
        description: str = "",
        open_budget: bool = False,
        loops: LoopLimits | None = None,
        escalate: Sequence[tuple[Seconds, str]] = (),
    ) -> None:
        """`tools` and `agents` are the allow-lists: Waypost tools, LangChain tools as `durable(…)` or `in_node(…)`, agents.

        - `output` makes the run's result of the graph's output; without it the result is the output as JSON.
        - `asks` says who answers what `interrupt()` asks; `unanswered` gives the answer when nobody does (else the run fails).
        - `reserve` is what one model call may use at most, reserved before it where the run's tokens or cost are limited; without it
          that is estimated from the prompt and the model's `max_tokens`.
        - `model_timeout`: a model that has not answered whole by then is given up (`ModelFailed`, with the type `ModelTimeout`); None:
          only its own limits hold. Not in plain nodes, whose threads cannot be stopped.
        - `stream`: what people can watch on `waypost.stream.<run_id>`, off by default. True, or `"messages"`: models that can stream do,
          and their answers are shown as they come (a node that streams by itself shows them in any case). `"updates"`, `"values"`,
          `"custom"`, `"tasks"`, `"checkpoints"` and `"debug"`, one or several: what LangGraph streams in these modes.
        - `config` is the graph's `RunnableConfig` (its `recursion_limit`, its `configurable`), `context` its runtime context.
        - `durability="async"`: a step of the graph does not wait until the checkpoint before it is stored. What nodes ask of models and
          tools begins after it all the same; only raw code in nodes may run before. "sync" waits, as LangGraph's own "sync" does.
        - `serializer` writes the state; LangGraph's `JsonPlusSerializer` by default.

        Raises `TypeError`, `ValueError` or `BadInput` at the definition.
        """
        if not isinstance(graph, Pregel):
            raise TypeError(f"LangGraphAgent({name!r}, …) takes a compiled graph, not {graph!r}: call .compile() on the StateGraph")
        if graph.interrupt_after_nodes:
            raise TypeError(
                f"agent {name!r}: interrupt_after={graph.interrupt_after_nodes!r} cannot be told from a crash; call interrupt() in the "
                "node, or use interrupt_before"
            )
        self.in_node = frozenset(tool.tool.name for tool in tools if isinstance(tool, InNode))
        listed = [_checked(tool) for tool in tools if not isinstance(tool, InNode)]
        policy = policy_of(
            listed, agents, budget=budget, version=version, open_budget=open_budget, loops=loops or LoopLimits(), escalate=escalate
        )
        module = str(sys._getframe(1).f_globals.get("__name__", ""))
        super().__init__(check_name("agent", name), policy, module=module, description=description)
        self.graph = graph
        self.tools = {tool.name: tool for tool in listed if isinstance(tool, Tool)}
        self.output = output
        self.asks = Asks(role=asks) if isinstance(asks, str) else asks
        self.unanswered = unanswered
        self.reserve = reserve
        self.model_seconds = None if model_timeout is None else seconds_of(f"agent {name!r}: model_timeout", model_timeout)
        self.stream, self.shows = modes_of(name, stream)
        self.config: RunnableConfig = config or {}
        self.context = context
        self.durability = durability
        self.serializer = serializer or JsonPlusSerializer()
        self.own_serializer = serializer is not None
        install()

    # -- as every agent

    def bind(self, *args: Any, **kwargs: Any) -> bytes:
        """The graph's input: one value, or the fields of the state by name."""
        if args and (kwargs or len(args) != 1):
            raise TypeError(f"agent {self.name!r} takes one input, or the fields of its state by name")
        value = args[0] if args else kwargs
        return encode_value(f"the input of agent {self.name!r}", to_jsonable_python(value))

    @property
    def returns(self) -> Any:
        return Any

    @property
    def origin(self) -> object:
        return self.graph

    @property
    def takes(self) -> Any:
        return Any

    @property
    def hosts(self) -> Sequence[Tool[..., Any]]:
        """LangChain tools that the gateway runs: it hosts them with the module that defines this agent."""
        return [tool for tool in self.tools.values() if isinstance(tool, LangChainTool)]

    def definition(self, build: str) -> AgentDefinition:
        """What the worker announces; the schemas are the graph's own."""
        plain = super().definition(build)
        return msgspec.structs.replace(plain, input_schema=self._schemas[0], output_schema=self._schemas[1])

    def execution(self, beginning: Beginning) -> AgentExecution:
        from waypost.langgraph.execution import GraphExecution

        return GraphExecution(self, beginning)

    def encode_result(self, result: object) -> bytes:
        """The graph's output as JSON; messages as LangChain writes them."""
        value = self.output(result) if self.output is not None else result
        try:
            plain = to_jsonable_python(value)
        except ValueError as error:
            raise BadInput(f"the result of agent {self.name!r} cannot be written as JSON: {error}; make one with output=…") from error
        return super().encode_result(plain)

    # -- for its executions

    def compiled(self, saver: BaseCheckpointSaver[Any]) -> Pregel[Any, Any, Any, Any]:
        """The graph with the run's checkpointer in place of its own."""
        return self.graph.copy({"checkpointer": saver})

    def decode_input(self, body: bytes) -> Any:
        """The graph's input from JSON. Raises `BadInput` for null: LangGraph takes that for "go on"."""
        value = decode_value(f"the input of agent {self.name!r}", Any, body)
        if value is None:
            raise BadInput(f"agent {self.name!r} needs an input: the first values of the graph's state, {{}} for none")
        return value

    def tool_named(self, inner: BaseTool) -> Tool[..., Any] | None:
        """The listed tool that a LangChain tool of the graph stands for; None if it is not listed."""
        if isinstance(inner, GatewayTool):
            listed = self.tools.get(inner.waypost_tool.name)
            return None if listed is None else inner.waypost_tool if inner.waypost_tool.options != listed.options else listed
        for tool in self.tools.values():
            if isinstance(tool, LangChainTool) and tool.inner.name == inner.name:
                return tool
        return self.tools.get(inner.name.replace("_", "-").lower())

    @cached_property
    def _schemas(self) -> tuple[Raw, Raw]:
        return _schema(self.graph.get_input_jsonschema), _schema(self.graph.get_output_jsonschema) if self.output is None else Raw(b"{}")


def _checked(tool: object) -> Target[..., Any]:
    if isinstance(tool, BaseTool):
        raise TypeError(
            f"tools=[…] lists the LangChain tool {tool.name!r}: say what running it does with durable({tool.name}, effect='read' or "
            f"'idempotent' or 'unsafe'), or leave it to its node with in_node({tool.name})"
        )
    return tool  # type: ignore[return-value]  # policy_of refuses what is no target


def _schema(make: Callable[[], Mapping[str, Any]]) -> Raw:
    try:
        return Raw(encode(make()))
    except Exception:  # noqa: BLE001 - pydantic has no one error for types without a schema, and a graph runs without one
        return Raw(b"{}")


__all__ = ["LangGraphAgent"]
