"""Pools: which agents and tools the processes of one NATS account may host. One file for `waypost nats-config` and the coordinator.

[pool.desk]
agents = ["compliance", "screening"]
builds = ["v1", "v2"]                 # WAYPOST_BUILD of its workers: the one that runs, and the next one
workers = 4                           # named desk-0 to desk-3 (WAYPOST_WORKER_NAME)

[pool.bank]
tools = ["core-banking", "file-report"]

[pool.edge]
webhooks = ["crm"]                    # the names in WAYPOST_WEBHOOKS_FILE of edges that send them
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from waypost_io.bus.ports import ConsumerSpec
from waypost_io.bus.topology import sticky_consumer, tool_consumer, webhook_consumer, work_consumer
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.ids import WorkerId, check_name
from waypost_proto.registry import Announce
from waypost_proto.subjects import Subjects

MAX_WORKERS = 256


class Pool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the processes of one account may host."""

    agents: list[str] = []
    builds: list[str] = []
    workers: int = 1
    tools: list[str] = []
    webhooks: list[str] = []
    """Of a pool of edges: it hosts nothing, and may do besides what clients may."""

    def worker_names(self, pool: str) -> list[str]:
        """The names that its workers may have; none without agents."""
        return [f"{pool}-{number}" for number in range(self.workers)] if self.agents else []

    def consumers(self, pool: str, subjects: Subjects) -> dict[str, ConsumerSpec]:
        """Every consumer that its processes may pull, by name."""
        specs = [work_consumer(subjects, agent, build) for agent in self.agents for build in self.builds]
        specs += [sticky_consumer(subjects, WorkerId(name)) for name in self.worker_names(pool)]
        specs += [tool_consumer(subjects, tool) for tool in self.tools]
        specs += [webhook_consumer(subjects, name) for name in self.webhooks]
        return {spec.name: spec for spec in specs}

    def problem_of(self, pool: str, announce: Announce) -> str:
        """Why this announcement is not the pool's to make; "" if it is."""
        if not announce.peer.startswith(f"{pool}-"):
            return f"peer {announce.peer!r} is not of the pool {pool!r}: its name begins with {pool}-"
        if announce.kind == "worker" and announce.peer not in self.worker_names(pool):
            return f"worker {announce.peer!r} is none of the {self.workers} of the pool {pool!r}"
        for agent in announce.agents:
            if agent.name not in self.agents:
                return f"the pool {pool!r} may not host the agent {agent.name!r}"
            if agent.build not in self.builds:
                return f"the pool {pool!r} may not host build {agent.build!r}: {', '.join(self.builds)}"
        for tool in announce.tools:
            if tool.name not in self.tools:
                return f"the pool {pool!r} may not host the tool {tool.name!r}"
        return ""


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pool: dict[str, Pool] = {}


def read_pools(path: Path) -> dict[str, Pool]:
    """The pools of a file. Raises `Misconfigured` that names place and value."""
    try:
        return parse_pools(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"the file of pools {str(path)!r} cannot be read: {error}") from error


def parse_pools(text: str, where: str) -> dict[str, Pool]:
    """Like `read_pools`, from text."""
    try:
        pools = msgspec.convert(tomllib.loads(text), _File).pool
        for name, pool in pools.items():
            _check(name, pool, pools)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, BadInput) as error:
        raise Misconfigured(f"{where}: {error}") from error
    if not pools:
        raise Misconfigured(f"{where}: there is no [pool.NAME] in it")
    return pools


def _check(name: str, pool: Pool, pools: dict[str, Pool]) -> None:
    for what, values in (
        ("pool", [name]),
        ("agent", pool.agents),
        ("build", pool.builds),
        ("tool", pool.tools),
        ("webhook", pool.webhooks),
    ):
        for value in values:
            check_name(what, value)
    if any(other.startswith(f"{name}-") for other in pools):
        raise BadInput(f"pool {name!r}: another pool's name begins with {name}-, so their peers could not be told apart")
    if not pool.agents and not pool.tools and not pool.webhooks:
        raise BadInput(f"pool {name!r} has neither agents nor tools nor webhooks")
    if pool.webhooks and (pool.agents or pool.tools):
        raise BadInput(
            f"pool {name!r} has webhooks, so it is of edges, which host neither agents nor tools: make a pool of its own for these"
        )
    if pool.agents and not pool.builds:
        raise BadInput(f"pool {name!r} has agents and no builds: name the WAYPOST_BUILD of its workers")
    if not 1 <= pool.workers <= MAX_WORKERS:
        raise BadInput(f"pool {name!r}: {pool.workers} workers, use 1 to {MAX_WORKERS}")
