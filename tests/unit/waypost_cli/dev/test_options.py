from __future__ import annotations

from pathlib import Path

import pytest

from waypost_cli.dev.options import DevOptions, service_specs


def test_each_service_is_a_process_with_a_port_of_its_own() -> None:
    specs = service_specs(DevOptions(modules=("agents.py", "tools.py")), "nats://n:1", "postgresql://p/db")
    assert [spec.name for spec in specs] == ["coordinator", "worker", "gateway", "audit"]
    assert len({spec.ops_port for spec in specs}) == 4
    commands = {spec.name: spec.command[1:] for spec in specs}
    assert commands["coordinator"] == ("-m", "waypost_coordinator")
    assert commands["worker"] == ("-m", "waypost_worker", "agents.py", "tools.py")
    assert [spec.name for spec in specs if spec.reloads] == ["worker", "gateway"]


def test_a_worker_gets_nats_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_POSTGRES_URL", "postgresql://other/db")
    environments = {spec.name: spec.environment for spec in service_specs(DevOptions(modules=("a",)), "nats://n:1", "postgresql://p/db")}
    assert "WAYPOST_POSTGRES_URL" not in environments["worker"]
    assert environments["worker"]["WAYPOST_NATS_URL"] == "nats://n:1"
    assert environments["gateway"]["WAYPOST_POSTGRES_URL"] == "postgresql://p/db"


def test_replicas_and_extra_variables() -> None:
    options = DevOptions(
        services=("coordinator",),
        replicas={"coordinator": 2},
        environment={"A": "1"},
        environment_of={"coordinator-2": {"WAYPOST_FAULTS": "coordinator.commit.after"}},
    )
    first, second = service_specs(options, "nats://n:1", "postgresql://p/db")
    assert (first.name, second.name) == ("coordinator", "coordinator-2")
    assert first.environment["A"] == second.environment["A"] == "1"
    assert "WAYPOST_FAULTS" in second.environment
    assert "WAYPOST_FAULTS" not in first.environment


def test_without_a_module_nothing_is_hosted() -> None:
    assert [spec.name for spec in service_specs(DevOptions(), "nats://n:1", "postgresql://p/db")] == ["coordinator", "audit"]


def test_unset_urls_mean_embedded_servers() -> None:
    options = DevOptions.from_environment((), {"WAYPOST_NATS_URL": " ", "WAYPOST_DATA_DIR": "/data"})
    assert (options.nats_url, options.postgres_url, options.data_dir) == ("", "", Path("/data"))
    options = DevOptions.from_environment((), {"WAYPOST_NATS_URL": "nats://n:1", "WAYPOST_POSTGRES_URL": "postgresql://p/db"})
    assert (options.nats_url, options.postgres_url) == ("nats://n:1", "postgresql://p/db")
