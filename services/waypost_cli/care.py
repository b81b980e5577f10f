"""`waypost agents|tools|redispatch|migrate|version`: looking after an installation."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from waypost_cli.connect import connected, use_running_dev
from waypost_cli.options import AsJson
from waypost_cli.output import note, print_json, print_table, say
from waypost_proto.api import QueueView, Redispatch, RedispatchAnswer, ToolView
from waypost_proto.values import Rate


async def agents(*, json: AsJson = False) -> None:
    """List agents: the current build, which new runs get, the workers that host it now, older builds that live on for their runs, and how
    many messages wait for a build or a worker."""
    async with connected() as client:
        found = await client.agents(queues=True)
    if json:
        print_json(found)
        return
    rows = (
        [
            a.definition.name,
            a.definition.build,
            a.definition.kind,
            _hosts(a.workers),
            ", ".join(f"{other.build} ({len(other.workers)})" for other in a.builds if other.build != a.definition.build),
            ", ".join(f"{each.name}: {_queue(each)}" for each in a.queues or () if each.pending or each.unacked),
            ", ".join(a.definition.tools),
        ]
        for a in found
    )
    columns = ["AGENT", "BUILD", "KIND", "WORKERS", "OTHER BUILDS", "WAITING", "TOOLS"]
    print_table(columns, rows, empty="no agents: start a worker with `waypost worker MODULE`")


async def tools(*, json: AsJson = False) -> None:
    """List tools: their effect, the gateways that host them now, and how many calls wait for them."""
    async with connected() as client:
        found = await client.tools(queues=True)
    if json:
        print_json(found)
        return
    rows = (
        [
            t.definition.name,
            t.definition.effect.value,
            str(t.definition.retry.max_attempts),
            f"{t.definition.timeout_seconds:g} s",
            "yes" if t.definition.reconcile else "",
            _rate(t.definition.rate),
            _breaker(t),
            _hosts(t.gateways),
            "" if t.queue is None else _queue(t.queue),
        ]
        for t in found
    )
    columns = ["TOOL", "EFFECT", "ATTEMPTS", "TIMEOUT", "RECONCILES", "RATE", "BREAKER", "GATEWAYS", "WAITING"]
    print_table(columns, rows, empty="no tools: start a gateway with `waypost gateway MODULE`")


def _queue(queue: QueueView) -> str:
    """What nobody has taken, and what somebody is at."""
    return f"{queue.pending} ({queue.unacked} in work)" if queue.unacked else str(queue.pending)


def _rate(rate: Rate | None) -> str:
    return "" if rate is None else f"{rate.count}/{'' if rate.seconds == 1 else f'{rate.seconds:g} '}s"


def _breaker(view: ToolView) -> str:
    """`closed`, or what it is and why; nothing for a tool without one."""
    if view.definition.breaker is None:
        return ""
    return "closed" if view.breaker is None else f"{view.breaker.state.replace('_', '-')}: {view.breaker.reason}"


async def redispatch(run_id: Annotated[str | None, Parameter(help="Only this run.")] = None, /, *, json: AsJson = False) -> None:
    """Derive outstanding work again from the log and send it out: after streams were lost or purged by hand. Harmless otherwise."""
    async with connected() as client:
        answer = await client.call("runs.redispatch", Redispatch(run_id=run_id), RedispatchAnswer)
    if json:
        print_json(answer)
        return
    say(f"{answer.dispatches} dispatches of {answer.runs} runs")


async def migrate(
    *,
    check: Annotated[bool, Parameter(name="--check", help="Change nothing; exit 1 if something is missing.")] = False,
    json: AsJson = False,
) -> int:
    """Bring the schema of WAYPOST_POSTGRES_URL to this version. Safe to repeat and to run from several places at once."""
    from waypost_io.settings import Settings, load
    from waypost_io.store.migrate import migrate as apply
    from waypost_io.store.migrate import pending
    from waypost_proto.errors import Misconfigured

    use_running_dev()
    url = load(Settings).postgres_url
    if not url:
        raise Misconfigured("WAYPOST_POSTGRES_URL is not set: set postgresql://user:password@host:port/database")
    if check:
        found = await pending(url)
    else:
        found = await apply(url, None if json else lambda step: note(f"applying {step.version:04d} {step.name}"))
    if json:
        print_json([{"version": step.version, "name": step.name} for step in found])
    elif check:
        say("\n".join(f"missing {step.version:04d} {step.name}" for step in found) or "up to date")
    else:
        say(f"{len(found)} applied" if found else "up to date")
    return 1 if check and found else 0


def version(*, json: AsJson = False) -> None:
    """Print the version of Waypost and of the wire protocol it speaks."""
    from importlib.metadata import version as version_of

    from waypost_proto.limits import PROTOCOL_VERSION

    found = version_of("waypost")
    if json:
        print_json({"waypost": found, "protocol": PROTOCOL_VERSION})
    else:
        say(f"waypost {found} (protocol {PROTOCOL_VERSION})")


def _hosts(peers: list[str]) -> str:
    return ", ".join(peers) if peers else "none"
