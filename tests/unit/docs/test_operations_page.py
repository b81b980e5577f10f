"""docs/operations.md: its variables, metrics, checks, streams and roles are those of the code, none missing and none too many."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unit.docs.pages import ROOT, text_of
from waypost_cli.doctor import database_checks, nats_checks
from waypost_io import environment, settings
from waypost_io.bus.topology import stream_specs
from waypost_proto.subjects import Subjects

PAGE = text_of("operations.md")
KINDS = (
    settings.Settings,
    settings.CoordinatorSettings,
    settings.WorkerSettings,
    settings.GatewaySettings,
    settings.AuditSettings,
    settings.EdgeSettings,
    settings.TraceContentSettings,
)
CODE = "\n".join(path.read_text() for root in ("services", "shared") for path in sorted((ROOT / root).rglob("*.py")))


def section(heading: str) -> str:
    return PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(heading: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in section(heading).splitlines() if line.startswith("| `")]


def defaults() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in KINDS:
        for field, variable, _ in environment.variables(kind):
            found[variable.variable] = getattr(kind(), field)
    return found


def test_every_variable_is_there_with_its_default() -> None:
    shown = {name: cells[1].strip("`") for cells in rows("Environment variables") for name in re.findall(r"`(WAYPOST_\w+)`", cells[0])}
    assert set(shown) == set(defaults()) | set(settings.OTHER_VARIABLES)
    for name, value in defaults().items():
        expected = "" if value in (None, "") else f"{value:g}" if isinstance(value, float) else str(value)
        assert shown[name] == expected, name


@pytest.mark.parametrize("cells", rows("Environment variables"), ids=lambda cells: cells[0])
def test_what_nothing_reads_is_said_to_be_read_by_nothing(cells: list[str]) -> None:
    for name in re.findall(r"`(WAYPOST_\w+)`", cells[0]):
        fields = {field for kind in KINDS for field, variable, _ in environment.variables(kind) if variable.variable == name}
        if fields:
            is_read = any(re.search(rf"settings\.{field}\b|\bself\.{field}\b|last\.{field}\b", CODE) for field in fields)
        else:
            is_read = CODE.count(f'"{name}"') > 1
        assert is_read == (cells[2] != "nothing yet"), name


def test_the_checks_of_readyz_are_there() -> None:
    for name in ("nats", "partitions", "worker", "postgres", "consumers", "announced", "log"):
        assert f"`{name}`" in section("Endpoints and metrics")
        assert f'"{name}": ' in CODE


def test_streams_are_bounded_as_the_page_says() -> None:
    shown = {cells[0].strip("`"): cells[1:] for cells in rows("Streams")}
    specs = stream_specs(Subjects(), partitions=8)
    assert set(shown) == {spec.name for spec in specs}
    for spec in specs:
        hours = spec.max_age_seconds / 3600
        kept = "until taken" if not hours else f"{hours:g} hours" if hours <= 72 else f"{hours / 24:g} days"
        assert shown[spec.name] == [f"{spec.max_bytes >> 20} MiB", kept, "refuses" if spec.discard == "new" else "drops the oldest"]
    assert f"about {sum(spec.max_bytes for spec in specs) / (1 << 30):.1f} GiB" in " ".join(PAGE.split())


def test_roles_are_those_of_the_schema() -> None:
    sql = (ROOT / "shared/waypost_io/store/schema/roles.sql").read_text()
    assert {cells[0].strip("`") for cells in rows("Roles in Postgres")} == set(re.findall(r"'(waypost_\w+)'", sql.split("LOOP")[0]))
    assert not re.search(r"'[^']*(UPDATE|DELETE)[^']*',\s*'(events|audit_entries)'", sql)


def test_versions_are_those_that_doctor_asks_for() -> None:
    assert f"Postgres {database_checks.OLDEST} or later" in " ".join(PAGE.split())
    assert "nats-server {}.{} or later".format(*nats_checks.OLDEST) in " ".join(PAGE.split())


def test_log_messages_that_are_named_exist() -> None:
    for name in re.findall(r"`([a-z]+_[a-z_]+)`", section("Troubleshooting")):
        assert f'"{name}"' in CODE or name in ("waiting_approval", "not_done"), name
