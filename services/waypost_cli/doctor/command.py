"""Runs the checks in the order in which one needs the other."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from waypost_cli.connect import make_client, quiet, use_running_dev
from waypost_cli.doctor.deployment_checks import check_one_database, check_prefix
from waypost_cli.doctor.nats_checks import check_server, check_streams, stream_names
from waypost_cli.doctor.place_checks import check_collector, check_environment, check_files, check_folder
from waypost_cli.doctor.postgres_checks import check_database, check_work
from waypost_cli.doctor.report import Finding, exit_code, failure, show
from waypost_cli.doctor.right_checks import check_rights
from waypost_cli.doctor.service_checks import check_services
from waypost_cli.options import AsJson
from waypost_cli.output import print_json
from waypost_io.settings import Settings, load
from waypost_proto.errors import Misconfigured, WaypostError

if TYPE_CHECKING:
    from waypost_io.bus.ports import Bus


_NEEDED = ("postgres", "postgres rights", "migrations")
"""Without these nothing can be read."""


async def doctor(*, json: AsJson = False) -> int:
    """Check servers, schema, services and work that is stuck. Each finding says how to mend it.

    Exit 0 if nothing failed, 1 if something did, 2 for settings that cannot work, 3 if a server cannot be reached.
    """
    quiet()
    use_running_dev()
    settings = load(Settings)
    findings = [*check_environment(os.environ), *check_files(settings, os.environ), *check_folder(settings)]
    findings += await _nats(settings)
    findings += await _postgres(settings)
    findings += await check_collector(os.environ)
    if json:
        print_json(findings)
    else:
        show(findings)
    return exit_code(findings)


async def _nats(settings: Settings) -> list[Finding]:
    """NATS first, then what can only be asked through it."""
    from waypost_io.bus.opening import bus_of
    from waypost_io.bus.topology import stream_specs

    findings = await check_server(settings)
    if any(finding.unreachable or finding.check in ("nats", "jetstream") for finding in findings if finding.level == "failure"):
        return findings
    specs = stream_specs(settings.subjects, partitions=settings.partitions, replicas=settings.replicas)
    try:
        async with bus_of(settings, "waypost-doctor") as bus:
            findings += await check_rights(settings)
            if not settings.nats_pool:  # the account of a pool has no streams
                findings += await check_streams(bus, specs)
                findings += await _prefix(bus, settings)
            async with make_client(bus) as client:
                findings += await check_services(client)
                findings += await check_one_database(client, settings)
    except Misconfigured as error:
        findings.append(failure("nats", str(error), "see that WAYPOST_NATS_CREDS, WAYPOST_NATS_CA, user and password are right"))
    except WaypostError as error:
        findings.append(failure("nats", str(error), "see that WAYPOST_NATS_CREDS and WAYPOST_NATS_CA are right"))
    return findings


async def _prefix(bus: Bus, settings: Settings) -> list[Finding]:
    try:
        return check_prefix(settings, await stream_names(bus))
    except WaypostError:
        return []  # said already


async def _postgres(settings: Settings) -> list[Finding]:
    from waypost_io.store.postgres import PostgresStore

    findings = await check_database(settings)
    if any(finding.level == "skipped" or (finding.level == "failure" and finding.check in _NEEDED) for finding in findings):
        return findings
    async with PostgresStore(settings.postgres_url) as store:
        return [*findings, *await check_work(store, partitions=settings.partitions)]
