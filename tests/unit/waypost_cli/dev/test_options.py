from __future__ import annotations

import socket
from pathlib import Path

import pytest

from waypost_cli.dev import options as dev_options
from waypost_cli.dev.options import DevOptions, service_specs, with_edge


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


def test_the_edge_is_a_service_more_at_its_own_address() -> None:
    options = with_edge(DevOptions(services=("coordinator",)), {"WAYPOST_HTTP_ADDR": "127.0.0.1:9"})
    coordinator, edge = service_specs(options, "nats://n:1", "postgresql://p/db")
    assert (coordinator.name, edge.name, edge.command[1:]) == ("coordinator", "edge", ("-m", "waypost_edge"))
    assert (edge.environment["WAYPOST_HTTP_ADDR"], options.edge_url) == ("127.0.0.1:9", "http://127.0.0.1:9")
    assert edge.environment["WAYPOST_POSTGRES_URL"] == "postgresql://p/db"
    assert edge.environment["WAYPOST_OPS_ADDR"] != edge.environment["WAYPOST_HTTP_ADDR"]
    assert DevOptions().edge_url == ""


def test_the_edge_moves_where_its_port_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(dev_options, "EDGE_PORT", port)
            moved = with_edge(DevOptions(), {})
    assert moved.edge_addr.startswith("127.0.0.1:")
    assert moved.edge_addr != f"127.0.0.1:{port}"


def test_unset_urls_mean_embedded_servers() -> None:
    options = DevOptions.from_environment((), {"WAYPOST_NATS_URL": " ", "WAYPOST_DATA_DIR": "/data"})
    assert (options.nats_url, options.postgres_url, options.data_dir) == ("", "", Path("/data"))
    options = DevOptions.from_environment((), {"WAYPOST_NATS_URL": "nats://n:1", "WAYPOST_POSTGRES_URL": "postgresql://p/db"})
    assert (options.nats_url, options.postgres_url) == ("nats://n:1", "postgresql://p/db")
