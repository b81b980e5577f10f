from __future__ import annotations

import types
from pathlib import Path

import pytest

from waypost_io.settings import (
    AuditSettings,
    CoordinatorSettings,
    GatewaySettings,
    Settings,
    WorkerSettings,
    build_id,
    load,
    parse_address,
    unknown_variables,
)
from waypost_proto.errors import BadInput, Misconfigured
from waypost_proto.ids import NAME_PATTERN

POSTGRES = {"WAYPOST_POSTGRES_URL": "postgresql://u:secret@db/waypost"}


def test_nothing_set_gives_the_documented_defaults() -> None:
    settings = load(WorkerSettings, {})
    assert (settings.nats_url, settings.prefix, settings.partitions, settings.ops_addr) == ("nats://127.0.0.1:4222", "waypost", 8, "")
    assert load(CoordinatorSettings, POSTGRES).lease_seconds == 3.0


@pytest.mark.parametrize("kind", [CoordinatorSettings, GatewaySettings, AuditSettings])
def test_a_service_with_state_needs_postgres(kind: type[Settings]) -> None:
    with pytest.raises(Misconfigured, match=r"WAYPOST_POSTGRES_URL is not set.*waypost dev"):
        load(kind, {"WAYPOST_POSTGRES_URL": "  "})


def test_values_are_converted_and_kept() -> None:
    settings = load(
        CoordinatorSettings,
        POSTGRES
        | {
            "WAYPOST_NATS_URL": "nats://a:1,tls://b:2",
            "WAYPOST_PREFIX": "desk",
            "WAYPOST_REPLICAS": "3",
            "WAYPOST_DURABILITY": "strict",
            "WAYPOST_DATA_DIR": "~/data",
            "WAYPOST_COORDINATOR_LEASE_SECONDS": "2.5",
        },
    )
    assert settings.replicas == 3
    assert settings.durability == "strict"
    assert settings.lease_seconds == 2.5
    assert settings.data_dir == Path.home() / "data"
    assert settings.subjects.stream("TASKS") == "DESK_TASKS"


def test_all_problems_are_reported_together_with_variable_and_value() -> None:
    bad = {
        "WAYPOST_NATS_URL": "http://x",
        "WAYPOST_NATS_CREDS": "/does/not/exist",
        "WAYPOST_PREFIX": "A.B",
        "WAYPOST_REPLICAS": "2",
        "WAYPOST_DURABILITY": "maybe",
        "WAYPOST_BUILD": "Not Legal",
        "WAYPOST_OPS_ADDR": "localhost",
        "WAYPOST_PARTITIONS": "many",
        "WAYPOST_COORDINATOR_BATCH_MAX": "0",
        "WAYPOST_COORDINATOR_LEASE_SECONDS": "nan",
    }
    with pytest.raises(Misconfigured) as caught:
        load(CoordinatorSettings, bad)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(bad) + 1  # and Postgres, which is not set
    for name, value in bad.items():
        assert any(line.startswith(f"{name}={value!r}: ") for line in lines), name


def test_credentials_appear_neither_in_errors_nor_in_repr() -> None:
    with pytest.raises(Misconfigured) as caught:
        load(CoordinatorSettings, {"WAYPOST_POSTGRES_URL": "postgresql://u:hunter2@h:port/x", "WAYPOST_NATS_URL": "nats://hunter2@"})
    assert "hunter2" not in str(caught.value)
    settings = load(CoordinatorSettings, POSTGRES | {"WAYPOST_NATS_URL": "nats://hunter2@h"})
    assert "hunter2" not in repr(settings)
    assert "secret" not in f"{settings}"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]:0", ("::1", 0)),
        (":8420", ("0.0.0.0", 8420)),
        ("ops.local:65535", ("ops.local", 65_535)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "x", "x:", "x:-1", "x:65536", "x:8²", "8420"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        parse_address(text)


def test_unknown_variables_are_found() -> None:
    assert unknown_variables({"WAYPOST_NATS_ULR": "x", "WAYPOST_NATS_URL": "x", "WAYPOST_LOG_LEVEL": "info", "PATH": "x"}) == [
        "WAYPOST_NATS_ULR"
    ]


def _module(path: Path) -> types.ModuleType:
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    if path.name == "__init__.py":
        module.__path__ = [str(path.parent)]
    return module


def test_the_build_follows_the_content_and_nothing_else(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        (folder / "pack" / "deep").mkdir(parents=True)
        (folder / "pack" / "__init__.py").write_text("x = 1")
        (folder / "pack" / "deep" / "m.py").write_text("y = 2")
        (folder / "agents.py").write_text("z = 3")
    modules = [_module(first / "agents.py"), _module(first / "pack" / "__init__.py")]
    same = [_module(second / "pack" / "__init__.py"), _module(second / "agents.py")]

    build = build_id(modules)
    assert NAME_PATTERN.fullmatch(build)
    assert build_id(same) == build
    (second / "pack" / "deep" / "m.py").write_text("y = 3")
    assert build_id(same) != build


def test_a_module_without_source_needs_a_build() -> None:
    with pytest.raises(BadInput, match="WAYPOST_BUILD"):
        build_id([types.ModuleType("nowhere")])
    assert load(WorkerSettings, {"WAYPOST_BUILD": "v7"}).build_of([types.ModuleType("nowhere")]) == "v7"
