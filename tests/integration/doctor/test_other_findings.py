"""Services, files, environment, collector: made to be wrong, seen, and how to mend it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from tests.integration.doctor.conftest import Examine
from tests.unit.waypost_coordinator.api.rig import Desk
from waypost_cli.doctor.place_checks import filesystem_of
from waypost_io.identity import new_token
from waypost_io.servers import free_port as choose_port
from waypost_proto.api import AgentView, ToolView
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.values import Effect

pytestmark = pytest.mark.slow
"""Each makes a server wrong, and many start one of their own."""


async def test_nothing_is_wrong_with_what_is_well(examine: Examine, env: dict[str, str]) -> None:
    look = await examine(**env)
    assert (look.code, look.bad) == (0, {})


async def test_no_coordinator(examine: Examine, env: dict[str, str], nats_url: str) -> None:
    look = await examine(**{**env, "WAYPOST_PREFIX": "quiet"})
    assert look["coordinator"]["level"] == "failure"
    assert "waypost coordinator" in look["coordinator"]["mend"]


async def test_runs_whose_agent_nobody_hosts(examine: Examine, env: dict[str, str], desk: Desk) -> None:
    await desk.started()
    desk.hosts.agents = [AgentView(definition=AgentDefinition(name="desk", build="b1"))]
    look = await examine(**env)
    assert look["runs"]["found"] == "open runs of agents that no worker hosts now: desk (1)"
    assert "waypost worker MODULE" in look["runs"]["mend"]


async def test_a_tool_without_a_gateway(examine: Examine, env: dict[str, str], desk: Desk) -> None:
    desk.hosts.tools = [ToolView(definition=ToolDefinition(name="mail", effect=Effect.READ))]
    look = await examine(**env)
    assert look["gateways"]["found"] == "mail: defined, but nobody hosts it"
    assert "waypost gateway" in look["gateways"]["mend"]


async def test_two_deployments_on_one_prefix(examine: Examine, env: dict[str, str], desk: Desk) -> None:
    run_id = await desk.started()  # this coordinator keeps its runs elsewhere
    look = await examine(**env)
    assert look["deployment"]["level"] == "failure"
    assert run_id in look["deployment"]["found"]
    assert "WAYPOST_PREFIX" in look["deployment"]["mend"]


async def test_a_misspelt_variable(examine: Examine, env: dict[str, str]) -> None:
    look = await examine(**env, WAYPOST_NATS_ULR="nats://x")
    assert (look.code, look["environment"]["mend"]) == (0, "did you mean WAYPOST_NATS_URL?")


def identities(path: Path, *expires: str) -> list[str]:
    """A file with an identity for each; their tokens."""
    tokens, text = [], ""
    for number, until in enumerate(expires):
        token, key = new_token()
        tokens.append(token)
        text += f'[[identity]]\nsubject = "p{number}"\nkey = "{key}"\nroles = ["submitter"]\n{f"expires = {until}" if until else ""}\n'
    path.write_text(text)
    path.chmod(0o644)
    return tokens


async def test_the_file_of_identities(examine: Examine, env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "identities.toml"
    past = (dt.datetime.now(dt.UTC) - dt.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = {**env, "WAYPOST_API_TOKENS_FILE": str(path)}
    assert "cannot read" in (await examine(**wanted))["identities"]["found"]
    path.write_text("identity = 7")
    assert (await examine(**wanted))["identities"]["level"] == "failure"
    path.write_text("")
    assert "nobody may do anything" in (await examine(**wanted))["identities"]["found"]
    identities(path, "", past)
    look = await examine(**wanted)
    assert (look["identities"]["level"], look.code) == ("warning", 0)
    assert "1 of 2 have expired (p1)" in look["identities"]["found"]
    identities(path, past)
    assert (await examine(**wanted))["identities"]["level"] == "failure"
    identities(path, "")
    path.chmod(0o666)
    look = await examine(**wanted)
    assert "give themselves any role" in look["identities"]["found"]
    assert f"chmod go-w {path}" in look["identities"]["mend"]
    path.chmod(0o644)
    assert (await examine(**wanted)).bad == {}


async def test_the_token_of_this_process(examine: Examine, env: dict[str, str], tmp_path: Path) -> None:
    assert "is not a token" in (await examine(**env, WAYPOST_API_TOKEN="nonsense"))["token"]["found"]
    path = tmp_path / "identities.toml"
    (token,) = identities(path, "")
    look = await examine(**env, WAYPOST_API_TOKEN=new_token()[0], WAYPOST_API_TOKENS_FILE=str(path))
    assert "is not in" in look["token"]["found"]
    mine = tmp_path / "token"
    mine.write_text(token)
    mine.chmod(0o644)
    look = await examine(**env, WAYPOST_API_TOKEN_FILE=str(mine), WAYPOST_API_TOKENS_FILE=str(path))
    assert look["token"]["found"] == "requests are signed as p0"
    assert f"chmod 600 {mine}" in look["secrets"]["mend"]
    assert token not in str(look.all)
    mine.chmod(0o600)
    assert (await examine(**env, WAYPOST_API_TOKEN_FILE=str(mine), WAYPOST_API_TOKENS_FILE=str(path))).bad == {}


async def test_a_collector_that_is_not_there_or_takes_no_traces(examine: Examine, env: dict[str, str], server_dir: Path) -> None:
    look = await examine(**env, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{choose_port()}")
    assert "does not answer" in look["collector"]["found"]
    look = await examine(**env, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert "http/protobuf" in look["collector"]["found"]


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no file system in memory here")
async def test_the_data_of_embedded_servers_in_memory(examine: Examine, env: dict[str, str]) -> None:
    if filesystem_of(Path("/dev/shm"), Path("/proc/self/mounts").read_text()) != "tmpfs":
        pytest.skip("/dev/shm is a disk here")
    look = await examine(**env, WAYPOST_DATA_DIR="/dev/shm")
    assert "on tmpfs" in look["data folder"]["found"]
    assert "WAYPOST_DATA_DIR" in look["data folder"]["mend"]


def test_the_file_system_is_that_of_the_deepest_mount() -> None:
    mounts = "/dev/sda / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/sdb /tmp/my\\040disk xfs rw 0 0\nshort\n"
    assert filesystem_of(Path("/tmp/x"), mounts) == "tmpfs"
    assert filesystem_of(Path("/tmp/my disk/x"), mounts) == "xfs"
    assert filesystem_of(Path("/var"), mounts) == "ext4"
    assert filesystem_of(Path("/var"), "") == ""
