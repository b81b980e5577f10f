"""`waypost runs list` and `show`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from msgspec import UNSET

from waypost_cli.connect import connected
from waypost_cli.options import AsJson, Labels, Where, parse_labels
from waypost_cli.output import ago, print_facts, print_json, print_table, say, short_json
from waypost_proto.api import CallView, RunView
from waypost_proto.usage import Lease, Usage, usd_of
from waypost_proto.values import Budget


async def list_runs(
    *,
    agent: Annotated[str | None, Parameter(help="Only runs of this agent.")] = None,
    status: Annotated[str | None, Parameter(help="Only runs with this status, such as waiting_approval; several with commas.")] = None,
    label: Labels = [],  # noqa: B006 - cyclopts reads the default, nobody changes it
    where: Where | None = None,
    limit: Annotated[int, Parameter(help="At most so many; 50 if not given.")] = 50,
    json: AsJson = False,
) -> None:
    """List runs, newest first."""
    async with connected() as client:
        runs = await client.list(
            agent=agent, status=status, labels=parse_labels(label), limit=limit, where=where.filters() if where is not None else None
        )
    if json:
        print_json(runs)
        return
    rows = ([r.run_id, r.agent, r.status, ago(r.created_at), str(r.steps), r.waiting_for or _why(r)] for r in runs)
    print_table(["RUN", "AGENT", "STATUS", "STARTED", "STEPS", "WAITING FOR"], rows, empty="no runs")


async def show(run_id: str, /, *, json: AsJson = False) -> None:
    """Show one run: status, what it waits for, limits, open calls, state, result."""
    async with connected() as client:
        view = await client.get(run_id)
    if json:
        print_json(view)
        return
    print_facts(facts_of(view))
    if view.open_calls:
        rows = ([c.call_id, c.kind, c.name, c.state, _attempt(c), _next(c), _error(c)] for c in view.open_calls)
        print_table(["CALL", "KIND", "NAME", "STATE", "ATTEMPT", "NEXT", "LAST ERROR"], rows, empty="")
    if view.result is not UNSET:
        say(short_json(view.result, 2_000))


def facts_of(view: RunView) -> list[tuple[str, str]]:
    """What `show` says of a run, in the order in which people ask."""
    return [
        ("run", view.run_id),
        ("agent", view.agent + (f" (build {view.build})" if view.build else "")),
        ("status", view.status),
        ("waiting for", view.waiting_for),
        ("error", _why(view)),
        ("started", f"{view.created_at} ({ago(view.created_at)})" if view.created_at else ""),
        ("changed", f"{view.updated_at} ({ago(view.updated_at)})" if view.updated_at else ""),
        ("deadline", f"{view.deadline} ({ago(view.deadline)})" if view.deadline else ""),
        ("steps", str(view.steps)),
        ("used", amounts_of(view.usage)),
        ("reserved", amounts_of(view.reserved)),
        ("left", left_of(view.left)),
        ("limits", limits_of(view.budget)),
        ("events", str(view.last_seq)),
        ("parent", view.parent or ""),
        ("labels", ", ".join(f"{key}={value}" for key, value in sorted(view.labels.items()))),
        ("key", view.idempotency_key or ""),
        ("correlation", view.correlation_id),
        ("state", short_json(view.state) if view.state is not UNSET else ""),
        ("result in", f"payload {view.result_ref.sha256} ({view.result_ref.size} bytes)" if view.result_ref is not UNSET else ""),
    ]


def amounts_of(usage: Usage | None) -> str:
    """An amount in words, `12 steps, 3400 tokens, 0.02 USD`; "" for nothing at all."""
    if usage is None or usage == Usage():
        return ""
    parts = [f"{usage.steps} steps" if usage.steps else "", f"{usage.tokens} tokens" if usage.tokens else ""]
    parts.append(f"{usd_of(usage.cost_micros):g} USD" if usage.cost_micros else "")
    return ", ".join(part for part in parts if part)


def left_of(left: Lease | None) -> str:
    """What may still be used, of each that is limited."""
    if left is None:
        return ""
    parts = [f"{left.steps} steps" if left.steps is not None else "", f"{left.tokens} tokens" if left.tokens is not None else ""]
    parts.append(f"{usd_of(left.cost_micros):g} USD" if left.cost_micros is not None else "")
    return ", ".join(part for part in parts if part)


def limits_of(budget: Budget) -> str:
    """The limits that are set, `max_steps 50, max_cost_usd 2`."""
    limits = ((name, getattr(budget, name)) for name in budget.__struct_fields__)
    return ", ".join(f"{name} {value:g}" for name, value in limits if value is not None)


def _why(view: RunView) -> str:
    return f"{view.error.type}: {view.error.message}" if view.error is not None else ""


def _attempt(call: CallView) -> str:
    if not call.attempt:
        return ""
    return f"{call.attempt} of {call.max_attempts}" if call.max_attempts else str(call.attempt)


def _next(call: CallView) -> str:
    return ago(call.next_attempt_at) if call.next_attempt_at else ""


def _error(call: CallView) -> str:
    return f"{call.error.type}: {call.error.message}" if call.error is not None else ""
