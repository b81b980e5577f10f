"""Runs the checks in the order in which one needs the other."""

from __future__ import annotations

from waypost_cli.connect import make_client, quiet, use_running_dev
from waypost_cli.doctor.nats_checks import check_server, check_streams
from waypost_cli.doctor.postgres_checks import check_database, check_work
from waypost_cli.doctor.report import Finding, exit_code, failure, show, warning
from waypost_cli.doctor.service_checks import check_services
from waypost_cli.options import AsJson
from waypost_cli.output import print_json
from waypost_io.settings import Settings, load, unknown_variables
from waypost_proto.errors import WaypostError


async def doctor(*, json: AsJson = False) -> int:
    """Check servers, schema, services and work that is stuck. Each finding says how to mend it; exit 1 if anything failed."""
    quiet()
    use_running_dev()
    settings = load(Settings)
    findings = [
        warning("environment", f"{name} is set and nothing reads it", "its right name is in docs/operations.md")
        for name in unknown_variables()
    ]
    findings += await _nats(settings)
    findings += await _postgres(settings)
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
    if any(finding.level == "failure" for finding in findings):
        return findings
    try:
        async with bus_of(settings, "waypost-doctor") as bus:
            findings += await check_streams(
                bus, stream_specs(settings.subjects, partitions=settings.partitions, replicas=settings.replicas)
            )
            async with make_client(bus) as client:
                findings += await check_services(client)
    except WaypostError as error:
        findings.append(failure("nats", str(error), "see that WAYPOST_NATS_CREDS and WAYPOST_NATS_CA are right"))
    return findings


async def _postgres(settings: Settings) -> list[Finding]:
    from waypost_io.store.postgres import PostgresStore

    findings = await check_database(settings)
    if any(finding.level != "ok" for finding in findings):
        return findings
    async with PostgresStore(settings.postgres_url) as store:
        return [*findings, *await check_work(store)]
