"""`waypost prune`: months of events that nobody needs any more are dropped, each with a signed statement in the audit log."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from waypost_cli.connect import quiet, use_running_dev
from waypost_cli.options import AsJson
from waypost_cli.output import note, print_json, print_table
from waypost_proto.errors import BadInput
from waypost_proto.task import parse_time

if TYPE_CHECKING:
    from waypost_io.audit.retention import Dropping

TIMEOUT_SECONDS = 3_600.0
"""A month of events is read once, for its leaves."""


async def prune(
    *,
    before: Annotated[str, Parameter(help="Months that were over at this time (RFC 3339), of runs that had ended by then.")],
    by: Annotated[str, Parameter(help="Who drops them: it stands in the statement.")] = "",
    key_file: Annotated[
        Path | None, Parameter(name="--key-file", help="The audit logger's keys; WAYPOST_AUDIT_KEY_FILE if not given.")
    ] = None,
    yes: Annotated[bool, Parameter(name="--yes", negative="", help="Drop them. Without it, only say what would go.")] = False,
    json: AsJson = False,
) -> None:
    """Drop the events of old months for good, on record: the audit log keeps their leaves and a signed statement of who dropped what.

    Runs that have not ended, ended later, or belong to such a run keep their events. Export them first: `waypost audit export --until`.
    Needs a login that owns the schema, as `waypost migrate` does.
    """
    from waypost_io.audit.keyfile import read_keys
    from waypost_io.audit.retention import prune as drop
    from waypost_io.settings import AuditSettings, Settings, load
    from waypost_io.store.postgres import PostgresStore

    quiet()
    use_running_dev()
    url = load(Settings).postgres_url
    if not url:
        raise BadInput("which database? set WAYPOST_POSTGRES_URL, or use it beside a running `waypost dev`")
    path = key_file or (load(AuditSettings).key_file if yes else None)
    if yes and not by.strip():
        raise BadInput("--by: say who drops them; it stands in the signed statement")
    if yes and path is None:
        raise BadInput("the statement must be signed: give --key-file, or set WAYPOST_AUDIT_KEY_FILE, as for the audit logger")
    keys = read_keys(path) if yes and path is not None else []
    async with PostgresStore(url, pool_size=2, application_name="waypost prune", timeout_seconds=TIMEOUT_SECONDS) as store:
        done = await drop(
            store.audit,
            store.retention,
            before=_time(before),
            now=await store.leases.now(),
            by=by.strip(),
            keys=keys,
            on_drop=lambda one: note(f"{one.what}: {one.events} events {'dropped' if yes else 'would go'}"),
        )
    if json:
        print_json(done)
        return
    _show(done, dropped=yes)


def _show(done: list[Dropping], *, dropped: bool) -> None:
    print_table(
        ("partition", "events", "runs", "runs that stay", "last leaf"),
        [(one.what, str(one.events), str(one.runs), str(one.kept_runs), str(one.upto - 1) if one.upto else "") for one in done],
        empty="no month of events was over by then",
    )
    if not done:
        return
    if dropped:
        note("keep the statements elsewhere too: --json prints them, and they are in the table audit_drops")
    else:
        note("nothing was dropped: repeat it with --yes and --by NAME")


def _time(text: str) -> float:
    try:
        found = parse_time(text)
    except ValueError as error:
        raise BadInput(f"--before: {error}; a time looks like 2026-11-01T00:00:00Z") from error
    if found > time.time():
        raise BadInput(f"--before {text} is in the future: what is still to come cannot be old")
    return found
