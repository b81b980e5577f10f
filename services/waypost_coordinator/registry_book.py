"""The definitions of agents and tools as they are committed, and what may be added to them. Pure bookkeeping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from waypost_proto.errors import BadInput, Conflict
from waypost_proto.ids import check_name
from waypost_proto.registry import AgentDefinition, Announce, ToolDefinition


@dataclass(frozen=True, slots=True)
class AgentEntry:
    """An agent: the build that new runs get, and every build by its id (the one committed last comes last)."""

    current: AgentDefinition
    builds: dict[str, AgentDefinition]


class Book:
    """Every definition, as last loaded from or committed to the store."""

    def __init__(self) -> None:
        self._agents: dict[str, dict[str, AgentDefinition]] = {}
        self._tools: dict[str, ToolDefinition] = {}

    def builds(self, agent: str) -> dict[str, AgentDefinition]:
        """The builds of an agent in the order of their commit; empty for an unknown one. Not to be changed."""
        return self._agents.get(agent, {})

    def agents(self) -> list[str]:
        return sorted(self._agents)

    def tools(self) -> dict[str, ToolDefinition]:
        """By name. Not to be changed."""
        return self._tools

    def knows(self, name: str) -> bool:
        return name in self._agents or name in self._tools

    def load(self, agents: Sequence[AgentDefinition], tools: Sequence[ToolDefinition]) -> frozenset[str]:
        """Replace everything by what the store holds; the names that are new or changed."""
        builds: dict[str, dict[str, AgentDefinition]] = {}
        for definition in agents:
            builds.setdefault(definition.name, {})[definition.build] = definition
        named = {tool.name: tool for tool in tools}
        changed = {name for name, found in builds.items() if self._agents.get(name) != found}
        changed |= {name for name, tool in named.items() if self._tools.get(name) != tool}
        self._agents, self._tools = builds, named
        return frozenset(changed)

    def news(self, announce: Announce) -> tuple[list[AgentDefinition], list[ToolDefinition]]:
        """What of an announcement is not in the store yet. Repeating an announcement is no news: it must not make an old
        build the current one again."""
        agents = [d for d in announce.agents if self.builds(d.name).get(d.build) != d]
        tools = [d for d in announce.tools if self._tools.get(d.name) != d]
        return agents, tools

    def committed(self, agents: Sequence[AgentDefinition], tools: Sequence[ToolDefinition]) -> frozenset[str]:
        """Take over what was put into the store; the names."""
        for definition in agents:
            builds = self._agents.setdefault(definition.name, {})
            builds.pop(definition.build, None)
            builds[definition.build] = definition
        for tool in tools:
            self._tools[tool.name] = tool
        return frozenset(d.name for d in agents) | frozenset(d.name for d in tools)

    def entry(self, agent: str, lives: Callable[[str], bool]) -> AgentEntry | None:
        """The agent with its current build: the one committed last that `lives`, or the one committed last if none does.

        So a roll-back takes over as soon as the newer build's workers are gone, without anything being stored.
        """
        builds = self._agents.get(agent)
        if not builds:
            return None
        newest_first = list(reversed(builds.values()))
        current = next((d for d in newest_first if lives(d.build)), newest_first[0])
        return AgentEntry(current, builds)

    def check(self, announce: Announce, hosts: Callable[[str], Sequence[str]]) -> None:
        """Refuse an announcement that cannot be accepted whole. `hosts` are the live gateways of a tool.

        Raises `BadInput` (a name) or `Conflict` (another live gateway hosts a tool of this name with another effect).
        """
        check_name(announce.kind, announce.peer)
        check_name("build", announce.build)
        _check_names("agent", [d.name for d in announce.agents])
        _check_names("tool", [d.name for d in announce.tools])
        for definition in announce.agents:
            if definition.build != announce.build:
                raise BadInput(f"agent {definition.name} says build {definition.build!r}, its worker says {announce.build!r}")
        for tool in announce.tools:
            known = self._tools.get(tool.name)
            others = [peer for peer in hosts(tool.name) if peer != announce.peer]
            if known is not None and known.effect is not tool.effect and others:
                raise Conflict(
                    f"tool {tool.name} is {known.effect.value!r} at gateway {others[0]} and {tool.effect.value!r} at {announce.peer}: "
                    "one name has one effect; rename one of the tools, or stop the other gateway first"
                )


def _check_names(kind: str, names: Sequence[str]) -> None:
    for name in names:
        check_name(kind, name)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"{kind} {twice[0]} is announced twice by the same peer: give one of them another name")
