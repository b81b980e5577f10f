"""The shape of each sort of span, made once for each combination of names: it is most of what a span says."""

from __future__ import annotations

from functools import lru_cache

from waypost_core import genai
from waypost_core.tracing.spans import GATEWAY, WORKER, Attributes, Kind, Shape

_KEPT = 4_096
"""Combinations of names that are remembered of each kind."""


@lru_cache(maxsize=_KEPT)
def shape_of_activation(prefix: str, agent: str, build: str, worker: str) -> Shape:
    """A delivery of the run to a worker, in the words of the messaging conventions."""
    attributes: Attributes = {
        genai.KIND: "activation",
        genai.AGENT_NAME: agent,
        **_message("process", _work(prefix)),
    }
    if build:
        attributes[genai.AGENT_VERSION] = build
    if worker:
        attributes[genai.WORKER] = worker
    return Shape(f"process {prefix}.work.{agent}", attributes, Kind.CONSUMER, WORKER)


@lru_cache(maxsize=_KEPT)
def shape_of_attempt(prefix: str, agent: str, tool: str, kind: str) -> Shape:
    """An attempt of a call at a gateway; `kind` tells it from a question whether an effect took place."""
    destination = f"{prefix}.tools.{tool}"
    attributes: Attributes = {
        genai.KIND: kind,
        genai.AGENT_NAME: agent,
        genai.TOOL_NAME: tool,
        genai.MESSAGING_DESTINATION_NAME: destination,
        **_message("process", _tools(prefix)),
    }
    return Shape(f"process {destination}", attributes, Kind.CONSUMER, GATEWAY)


@lru_cache(maxsize=_KEPT)
def shape_of_work_sent(prefix: str, agent: str) -> Shape:
    """The sending of an activation."""
    attributes: Attributes = {genai.KIND: "message", genai.AGENT_NAME: agent, **_message("send", _work(prefix))}
    return Shape(f"send {prefix}.work.{agent}", attributes, Kind.PRODUCER)


@lru_cache(maxsize=_KEPT)
def shape_of_call_sent(prefix: str, agent: str, tool: str) -> Shape:
    """The sending of an attempt of a call, or of a question about it."""
    destination = f"{prefix}.tools.{tool}"
    attributes: Attributes = {
        genai.KIND: "message",
        genai.AGENT_NAME: agent,
        genai.TOOL_NAME: tool,
        genai.MESSAGING_DESTINATION_NAME: destination,
        **_message("send", _tools(prefix)),
    }
    return Shape(f"send {destination}", attributes, Kind.PRODUCER)


@lru_cache(maxsize=_KEPT)
def shape_of_call(agent: str, tool: str) -> Shape:
    """A tool call as a whole."""
    attributes: Attributes = {
        genai.KIND: "tool_call",
        genai.AGENT_NAME: agent,
        genai.OPERATION_NAME: genai.EXECUTE_TOOL,
        genai.TOOL_NAME: tool,
        genai.TOOL_TYPE: "function",
    }
    return Shape(f"{genai.EXECUTE_TOOL} {tool}", attributes, service=WORKER)


@lru_cache(maxsize=_KEPT)
def shape_of_step(agent: str, step: str) -> Shape:
    """A local step that asked no model."""
    return Shape(f"step {step}", {genai.KIND: "step", genai.AGENT_NAME: agent, genai.STEP_NAME: step}, service=WORKER)


@lru_cache(maxsize=_KEPT)
def shape_of_chat(agent: str, model: str, provider: str) -> Shape:
    """A model call."""
    attributes: Attributes = {
        genai.KIND: "model_call",
        genai.AGENT_NAME: agent,
        genai.OPERATION_NAME: genai.CHAT,
        genai.REQUEST_MODEL: model,
    }
    if provider:
        attributes[genai.PROVIDER_NAME] = provider
    return Shape(f"{genai.CHAT} {model}", attributes, Kind.CLIENT, WORKER)


@lru_cache(maxsize=_KEPT)
def shape_of_plan(agent: str, model: str) -> Shape:
    """A reasoning step: a model call and what it chose."""
    attributes: Attributes = {
        genai.KIND: "reasoning_step",
        genai.AGENT_NAME: agent,
        genai.OPERATION_NAME: genai.PLAN,
        genai.REQUEST_MODEL: model,
    }
    return Shape(f"{genai.PLAN} {agent}", attributes, service=WORKER)


@lru_cache(maxsize=_KEPT)
def shape_of_child(child: str) -> Shape:
    """A run that was asked for, in the trace of the run that asked; the agent is the child's."""
    attributes: Attributes = {genai.KIND: "child", genai.AGENT_NAME: child, genai.OPERATION_NAME: genai.INVOKE_AGENT}
    return Shape(f"{genai.INVOKE_AGENT} {child}", attributes, Kind.CLIENT, WORKER)


@lru_cache(maxsize=_KEPT)
def shape_of_wait(agent: str, what: str) -> Shape:
    """Something that a run waits for."""
    return Shape(f"wait {what}", {genai.KIND: "wait", genai.AGENT_NAME: agent, genai.WAIT: what})


@lru_cache(maxsize=_KEPT)
def shape_of_run(agent: str, operation: str, tenant: str) -> Shape:
    """A whole run."""
    attributes: Attributes = {genai.KIND: "run", genai.AGENT_NAME: agent, genai.OPERATION_NAME: operation, genai.TENANT: tenant}
    if operation == genai.INVOKE_WORKFLOW:
        attributes[genai.WORKFLOW_NAME] = agent
    return Shape(f"{operation} {agent}", attributes)


def _work(prefix: str) -> str:
    return f"{prefix}.work.{{agent}}.{{build}}.{{worker}}"


def _tools(prefix: str) -> str:
    return f"{prefix}.tools.{{tool}}"


def _message(operation: str, template: str) -> Attributes:
    return {
        genai.MESSAGING_SYSTEM: "nats",
        genai.MESSAGING_OPERATION_NAME: operation,
        genai.MESSAGING_OPERATION_TYPE: operation,
        genai.MESSAGING_DESTINATION_TEMPLATE: template,
    }
