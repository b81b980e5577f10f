"""From what a client's caller says to what the wire has: budgets, deadlines, commands, and back: how a run failed."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from waypost._requests import Requests
from waypost_io.bus.ports import Bus
from waypost_io.settings import Settings
from waypost_proto import api
from waypost_proto.errors import BadInput, RunFailed
from waypost_proto.forks import ForkTools
from waypost_proto.task import TaskBudget
from waypost_proto.values import Budget


def command(
    run_id: str,
    by: str,
    *,
    reason: str = "",
    budget: TaskBudget | None = None,
    extra: TaskBudget | None = None,
    instruction: str = "",
    tools: ForkTools | None = None,
) -> api.RunCommand:
    """What is done to a run, under a fresh request id."""
    return api.RunCommand(
        run_id=run_id, by=by, reason=reason, budget=budget, extra=extra, instruction=instruction, tools=tools, request_id=uuid.uuid4().hex
    )


def task_budget(budget: Budget | None) -> TaskBudget | None:
    """A budget as tasks name it."""
    if budget is None:
        return None
    return TaskBudget(**{name: getattr(budget, name) for name in TaskBudget.__struct_fields__})


def deadline_text(deadline: str | datetime | timedelta | None) -> str | None:
    """A deadline as the wire has it. Raises `BadInput`."""
    if deadline is None or isinstance(deadline, str):
        return deadline
    if isinstance(deadline, timedelta):
        if deadline <= timedelta(0):
            raise BadInput(f"deadline {deadline!r} is not a positive length of time")
        return f"PT{deadline.total_seconds():f}S"
    return deadline.isoformat()


def decision(approval_id: str, by: str, roles: Sequence[str], reason: str) -> dict[str, Any]:
    """What every decision on an approval says, under a fresh request id."""
    return {"approval_id": approval_id, "by": by, "roles": list(roles), "reason": reason, "request_id": uuid.uuid4().hex}


def run_failed(view: api.RunView) -> RunFailed:
    """The error of a run that did not complete."""
    reason = f": {view.error.type}: {view.error.message}" if view.error is not None else ""
    return RunFailed(f"run {view.run_id} of {view.agent} {view.status}{reason}", run_id=view.run_id, status=view.status, failure=view.error)


def connect(settings: Settings, url: str | None) -> Bus:
    """A bus of the client's own."""
    from waypost_io.bus.opening import bus_of  # late: a client over another bus needs no driver

    return bus_of(settings, "waypost-client", url=url)


async def listed(requests: Requests, request: api.RunsList, limit: int) -> list[api.RunView]:
    """At most `limit` runs, page by page."""
    found: list[api.RunView] = []
    before: str | None = None
    while len(found) < limit:
        page = await requests.call("runs.list", replace(request, before=before, limit=min(limit - len(found), 200)), api.RunPage)
        found += page.runs
        before = page.next_before
        if before is None:
            break
    return found
