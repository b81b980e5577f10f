"""What a worker hosts: the agents defined in the modules it was started with, and the build that they are."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from waypost import Agent, hosted, load_module
from waypost_io.settings import Settings
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.registry import AgentDefinition


@dataclass(frozen=True, slots=True)
class Catalog:
    """Agents by name, their build, and their definitions as announced."""

    agents: dict[str, Agent[..., Any]]
    build: str
    definitions: list[AgentDefinition]


def load_catalog(names: Sequence[str], only: Sequence[str], settings: Settings) -> Catalog:
    """Import the modules and collect their agents, or those of them named in `only`.

    Raises `Misconfigured` that says what was found instead when there is nothing to host, and for modules that cannot be imported.
    """
    agents: dict[str, Agent[..., Any]] = {}
    modules: list[ModuleType] = []
    found: list[str] = []
    for name in names:
        module = _import(name)
        modules.append(module)
        here, tools = hosted(module)
        found.append(_found(name, here, [tool.name for tool in tools]))
        for agent in here:
            known = agents.setdefault(agent.name, agent)
            if known is not agent:
                raise Misconfigured(
                    f"agent {agent.name!r} is defined in {known.module} and in {agent.module}: give one of them another name="
                )
    missing = [name for name in only if name not in agents]
    if missing:
        raise Misconfigured(f"no agent {', '.join(map(repr, missing))}: {'; '.join(found)}")
    if only:
        agents = {name: agents[name] for name in only}
    if not agents and settings.allow_empty != "yes":
        raise Misconfigured(f"nothing to host: {'; '.join(found)}. A worker hosts the functions decorated with @agent in its modules")
    try:
        build = settings.build_of(modules)
        definitions = [agent.definition(build) for agent in agents.values()]
    except (TypeError, BadInput) as error:
        raise Misconfigured(str(error)) from error
    return Catalog(agents, build, definitions)


def _import(name: str) -> ModuleType:
    try:
        return load_module(name)
    except Misconfigured:
        raise
    except Exception as error:
        raise Misconfigured(f"module {name!r} cannot be imported: {_last_line(error)}") from error


def _last_line(error: BaseException) -> str:
    """The traceback's last line and where it happened: what a person looks for first."""
    text = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({frames[-1].filename}, line {frames[-1].lineno})" if frames else text


def _found(name: str, agents: Sequence[Agent[..., Any]], tools: Sequence[str]) -> str:
    what = [f"agents {', '.join(agent.name for agent in agents)}"] if agents else []
    what += [f"tools {', '.join(tools)} (hosted by `waypost gateway`)"] if tools else []
    return f"module {name!r} defines {' and '.join(what) or 'neither agents nor tools'}"
