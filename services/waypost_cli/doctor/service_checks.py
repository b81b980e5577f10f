"""Do the services answer, and does someone host what is defined?"""

from __future__ import annotations

from waypost.client import Client
from waypost_cli.doctor.report import Finding, failure, ok, warning
from waypost_proto.errors import WaypostError
from waypost_proto.values import RunStatus

MANY_PENDING = 100


async def check_services(client: Client) -> list[Finding]:
    """Coordinator, workers, gateways, runs that wait for a host."""
    try:
        agents = await client.agents()
        tools = await client.tools()
        pending = await client.list(status=RunStatus.PENDING, limit=MANY_PENDING)
    except WaypostError as error:
        return [failure("coordinator", str(error), "start one with `waypost coordinator`; see its log if it runs")]
    findings = [ok("coordinator", "answers")]
    workers = {worker for agent in agents for worker in agent.workers}
    gateways = {gateway for tool in tools for gateway in tool.gateways}
    idle = [agent.definition.name for agent in agents if not agent.workers]
    bare = [tool.definition.name for tool in tools if not tool.gateways]
    findings.append(_hosting("workers", "agents", len(agents), len(workers), idle, "waypost worker MODULE"))
    findings.append(_hosting("gateways", "tools", len(tools), len(gateways), bare, "waypost gateway MODULE"))
    named = {agent.definition.name for agent in agents}
    unknown = sorted({run.agent for run in pending} - named)
    if unknown:
        text = f"runs wait for agents that nobody has ever hosted: {', '.join(unknown)}"
        findings.append(warning("runs", text, "start a worker for them, or cancel the runs (`waypost runs list --status pending`)"))
    return findings


def _hosting(check: str, what: str, defined: int, hosts: int, without: list[str], command: str) -> Finding:
    if not defined:
        return warning(check, f"no {what} are defined", f"start one with `{command}`")
    if without:
        return warning(
            check, f"{', '.join(without)}: defined, but nobody hosts {'them' if len(without) > 1 else 'it'}", f"start `{command}`"
        )
    return ok(check, f"{hosts} for {defined} {what if defined > 1 else what[:-1]}")
