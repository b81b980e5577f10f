"""Do NATS, Postgres and these settings belong to one deployment? Each may be healthy, and the three still not fit together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from waypost_cli.doctor.report import Finding, failure, ok
from waypost_io.settings import Settings
from waypost_proto.errors import WaypostError

if TYPE_CHECKING:
    from waypost.client import Client

ASKED = 8
"""Times that the API is asked: answers come from any of the coordinators."""


async def check_one_database(client: Client, settings: Settings) -> list[Finding]:
    """Whether the runs that the coordinators know are in our database: two deployments on one prefix take each other's messages."""
    from waypost_cli.doctor.database_checks import knows_runs

    if not settings.postgres_url:
        return []
    try:
        pages = await asyncio.gather(*(client.list(limit=1) for _ in range(ASKED)))
        found = sorted({run.run_id for page in pages for run in page})
        missing = await knows_runs(settings.postgres_url, found) if found else []
    except WaypostError:
        return []  # said by the checks of the one or the other
    if not found:
        return []
    if missing:
        every = "the coordinators on" if len(missing) == len(found) else "one of the coordinators on"
        text = f"{every} prefix {settings.prefix!r} keep their runs in another database (run {missing[0]} is not in this one)"
        mend = "give each deployment a prefix of its own (WAYPOST_PREFIX), or the same WAYPOST_POSTGRES_URL to all of its services"
        return [failure("deployment", text, mend)]
    return [ok("deployment", "the coordinators keep their runs in this database")]


def check_prefix(settings: Settings, streams: list[str]) -> list[Finding]:
    """Whether Waypost's streams are here under another prefix, and none under ours. `streams`: all names that the server has."""
    ours = settings.subjects.stream("TASKS")
    others = sorted(name.removesuffix("_TASKS") for name in streams if name.endswith("_TASKS") and f"{name[:-6]}_MAILBOX" in streams)
    if ours in streams or not others:
        return []
    text = f"no streams of prefix {settings.prefix!r}, but of {', '.join(others[:5])}"
    mend = f"set WAYPOST_PREFIX as the coordinators have it, perhaps {others[0].lower().replace('_', '-')}"
    return [failure("prefix", text, mend)]
