"""Do the services answer, and does someone host what is defined?"""

from __future__ import annotations

from waypost.client import Client
from waypost_cli.doctor.report import Finding, failure, ok, warning
from waypost_proto.errors import Denied, NotAuthenticated, WaypostError
from waypost_proto.values import RunStatus

MANY_PENDING = 100
MANY_AGENTS = 50


async def check_services(client: Client) -> list[Finding]:
    """Coordinator, workers, gateways, runs that wait for a host."""
    try:
        agents = await client.agents()
        tools = await client.tools()
        pending = await client.list(status=RunStatus.PENDING, limit=MANY_PENDING)
        idle = [agent.definition.name for agent in agents if not agent.workers]
        stuck = await _open_runs(client, idle)
    except (Denied, NotAuthenticated) as error:
        mend = "set WAYPOST_API_TOKEN to a token whose role may look at runs (`waypost tokens list` shows them)"
        return [failure("coordinator", f"it refuses this caller: {error}", mend)]
    except WaypostError as error:
        return [failure("coordinator", str(error), "start one with `waypost coordinator`; see its log if it runs")]
    findings = [ok("coordinator", "answers")]
    workers = {worker for agent in agents for worker in agent.workers}
    gateways = {gateway for tool in tools for gateway in tool.gateways}
    bare = [tool.definition.name for tool in tools if not tool.gateways]
    findings.append(_hosting("workers", "agents", len(agents), len(workers), idle, "waypost worker MODULE"))
    findings.append(_hosting("gateways", "tools", len(tools), len(gateways), bare, "waypost gateway MODULE"))
    if stuck:
        text = ", ".join(f"{name} ({count}{'+' if count == MANY_PENDING else ''})" for name, count in stuck.items())
        mend = "start `waypost worker MODULE` with the module that defines it; the runs go on by themselves"
        findings.append(failure("runs", f"open runs of agents that no worker hosts now: {text}", mend))
    named = {agent.definition.name for agent in agents}
    unknown = sorted({run.agent for run in pending} - named)
    if unknown:
        text = f"runs wait for agents that nobody has ever hosted: {', '.join(unknown)}"
        findings.append(warning("runs", text, "start a worker for them, or cancel the runs (`waypost runs list --status pending`)"))
    return findings


async def _open_runs(client: Client, agents: list[str]) -> dict[str, int]:
    """How many runs of each of these agents could go on, if a worker were there."""
    found: dict[str, int] = {}
    for name in agents[:MANY_AGENTS]:
        for status in (RunStatus.PENDING, RunStatus.RUNNING):
            count = len(await client.list(agent=name, status=status, limit=MANY_PENDING))
            if count:
                found[name] = min(found.get(name, 0) + count, MANY_PENDING)
    return found


def _hosting(check: str, what: str, defined: int, hosts: int, without: list[str], command: str) -> Finding:
    if not defined:
        return warning(check, f"no {what} are defined", f"start one with `{command}`")
    if without:
        return warning(
            check, f"{', '.join(without)}: defined, but nobody hosts {'them' if len(without) > 1 else 'it'}", f"start `{command}`"
        )
    return ok(check, f"{hosts} for {defined} {what if defined > 1 else what[:-1]}")
