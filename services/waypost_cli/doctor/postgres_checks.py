"""Is Postgres there, new enough, migrated, on time, and is its work taken care of?"""

from __future__ import annotations

import time

from waypost_cli.doctor.database_checks import check_login
from waypost_cli.doctor.report import Finding, failure, ok, skipped, warning
from waypost_io.settings import Settings
from waypost_io.store.ports import Store
from waypost_proto.errors import Misconfigured, WaypostError

MAX_SKEW_SECONDS = 2.0
"""Waypost takes the time from Postgres; a clock further off than this misleads people who read both."""
MAX_LAG_EVENTS = 1_000


async def check_database(settings: Settings) -> list[Finding]:
    """Reachable and at this version's schema."""
    from waypost_io.store.migrate import pending

    if not settings.postgres_url:
        return [skipped("postgres", "WAYPOST_POSTGRES_URL is not set here; coordinators, gateways and audit loggers need it")]
    findings = await check_login(settings.postgres_url)
    if findings[0].level == "failure":
        return findings
    try:
        missing = await pending(settings.postgres_url)
    except Misconfigured as error:
        return [*findings, failure("migrations", str(error), "use the version of Waypost that belongs to this database")]
    except WaypostError as error:
        return [*findings, failure("migrations", str(error), "see the log of Postgres")]
    if missing:
        names = ", ".join(f"{step.version:04d} {step.name}" for step in missing)
        return [*findings, failure("migrations", f"missing: {names}", "run `waypost migrate`")]
    return [*findings, ok("migrations", "up to date")]


async def check_work(store: Store, *, partitions: int = 0) -> list[Finding]:
    """Clock, owners of the partitions (so many as the settings say, 0: nobody knows), audit log, dead letters."""
    try:
        return [await _clock(store), await _partitions(store, partitions), await _audit(store), await _dead(store)]
    except WaypostError as error:
        return [failure("postgres", str(error), "see the log of Postgres")]


async def _clock(store: Store) -> Finding:
    before = time.time()
    there = await store.leases.now()
    here = (before + time.time()) / 2
    skew = there - here
    if abs(skew) > MAX_SKEW_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        return warning("clock", f"Postgres is {abs(skew):.1f} s {way} this machine", "synchronise both with NTP")
    return ok("clock", f"within {max(abs(skew), 0.001):.3f} s of Postgres")


async def _partitions(store: Store, wanted: int) -> Finding:
    leases = await store.leases.owners()
    now = await store.leases.now()
    if not leases:
        return warning("partitions", "none yet", "start a coordinator: it makes them")
    if wanted and len(leases) != wanted:
        text = f"the deployment has {len(leases)}, WAYPOST_PARTITIONS is {wanted}"
        return failure("partitions", text, f"set WAYPOST_PARTITIONS={len(leases)}: it is fixed at the first start")
    free = [str(lease.partition) for lease in leases if not lease.owner or lease.expires_at < now]
    if free:
        text = f"{len(free)} of {len(leases)} have no owner ({', '.join(free)})"
        return failure("partitions", text, "start a coordinator with `waypost coordinator`; it takes them within seconds")
    owners = {lease.owner for lease in leases}
    return ok("partitions", f"{len(leases)} owned by {len(owners)} coordinator{'s' if len(owners) > 1 else ''}")


async def _audit(store: Store) -> Finding:
    lag = sum((await store.audit.lag()).values())
    state, head = await store.audit.state(), await store.audit.newest_head()
    if head is not None and head.size > state.size:
        text = f"the newest signed head covers {head.size} events, the log has {state.size}: it was cut, or restored from an old copy"
        return failure("audit log", text, "run `waypost audit verify`; restore the database to the newest state that you have")
    if lag > MAX_LAG_EVENTS:
        return warning("audit log", f"{lag} events behind", "start an audit logger with `waypost audit-logger`, or see its log")
    return ok("audit log", f"{lag} events behind" if lag else "complete")


async def _dead(store: Store) -> Finding:
    found = await store.dead.list(limit=100)
    if found:
        many = f"{len(found)}{'+' if len(found) == 100 else ''}"
        return warning("dead letters", f"{many}, the first: {found[0].reason}", "see `waypost dead list`, then redrive or discard them")
    return ok("dead letters", "none")
