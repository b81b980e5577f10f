"""The tree of commands, help, exit codes, and how quickly it starts."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import waypost_cli
from tests.unit.waypost_cli.conftest import Command
from tests.unit.waypost_cli.fake_client import RUN, FakeClient
from waypost_cli.app import COMMANDS, GROUPS
from waypost_proto.errors import BadInput, Conflict, Denied, Misconfigured, NotConfirmed, NotFound, Unreachable


@pytest.mark.parametrize("command", [command.words for command in COMMANDS])
def test_every_command_explains_itself(waypost: Command, command: str) -> None:
    outcome = waypost(*command.split(), "--help")
    assert outcome.code == 0
    assert outcome.out.startswith(f"Usage: waypost {command}")
    assert len(outcome.out.splitlines()) > 3


def test_help_lists_every_command(waypost: Command) -> None:
    text = waypost("--help").out
    for word in {command.words.split()[0] for command in COMMANDS} | set(GROUPS):
        assert word in text
    assert "redrive" in waypost("dead", "--help").out


PROMISED = {
    "": "demo dev run coordinator worker gateway audit-logger edge migrate redispatch doctor",
    "runs": "list show events watch pause resume cancel signal fork resolve",
    "approvals": "list approve deny",
    "dead": "list show redrive discard",
    "audit": "verify prove export",
}
"""The command line's public names, as the design fixes them: none of these may go. More may come."""
OPTIONS = {
    "demo": "--interactive --chaos --input",
    "run": "--input --wait --idempotency-key --max-steps --max-cost --max-tokens --deadline",
    "worker": "--agent --concurrency",
}


@pytest.mark.parametrize("group", PROMISED)
def test_every_promised_verb_is_there(waypost: Command, group: str) -> None:
    listed = {words[1] for line in waypost(*group.split(), "--help").out.splitlines() if len(words := line.split()) > 1 and words[0] == "│"}
    assert set(PROMISED[group].split()) <= listed


@pytest.mark.parametrize("command", OPTIONS)
def test_every_promised_option_is_there(waypost: Command, command: str) -> None:
    assert not [option for option in OPTIONS[command].split() if option not in waypost(command, "--help").out]


@pytest.mark.parametrize(
    "command", ["runs list", "runs show", "runs events", "approvals list", "dead list", "dead show", "agents", "tools", "doctor", "version"]
)
def test_every_read_command_has_json(waypost: Command, command: str) -> None:
    assert "--json" in waypost(*command.split(), "--help").out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("cannot reach NATS at nats://x:1"), 3),
        (NotConfirmed("not confirmed in 5 s"), 3),
        (NotFound("no run"), 1),
        (Conflict("already ended"), 1),
        (Denied("not your role"), 1),
        (BadInput("run id 'x' is not a UUIDv7"), 2),
        (Misconfigured("WAYPOST_NATS_URL='x': use nats://"), 2),
    ],
)
def test_an_error_is_one_line_and_a_code(waypost: Command, client: FakeClient, error: Exception, code: int) -> None:
    client.answers["get"] = error
    outcome = waypost("runs", "show", RUN)
    assert (outcome.code, outcome.out, outcome.err) == (code, "", f"waypost: {error}\n")


def test_a_missing_server_is_one_line_and_exit_3(waypost: Command, client: FakeClient) -> None:
    client.unreachable = Unreachable("cannot reach NATS at nats://127.0.0.1:4222")
    outcome = waypost("runs", "list")
    assert outcome.code == 3
    assert len(outcome.err.splitlines()) == 1


def test_a_server_that_is_really_missing(waypost: Command, monkeypatch: pytest.MonkeyPatch, free_port: int, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAYPOST_NATS_URL", f"nats://user:secret@127.0.0.1:{free_port}")
    outcome = waypost("runs", "list")
    assert outcome.code == 3
    assert len(outcome.err.splitlines()) == 1
    assert f"127.0.0.1:{free_port}" in outcome.err
    assert "secret" not in outcome.err


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["runs", "nonsense"], ["runs", "show"], ["runs", "list", "--nope"], ["dead", "show", "x"]]
)
def test_usage_is_exit_2(waypost: Command, client: FakeClient, arguments: list[str]) -> None:
    outcome = waypost(*arguments)
    assert outcome.code == 2
    assert outcome.err
    assert client.asked == []


def test_a_bad_setting_is_exit_2(waypost: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYPOST_NATS_URL", "http://x")
    outcome = waypost("runs", "list")
    assert outcome.code == 2
    assert "WAYPOST_NATS_URL" in outcome.err


def test_version(waypost: Command) -> None:
    assert waypost("version").out.startswith("waypost ")
    assert waypost("--version").out == waypost("version").out
    assert '"protocol"' in waypost("version", "--json").out


def test_help_imports_nothing_heavy() -> None:
    """What makes a start slow is imports; time itself says little on a busy machine."""
    code = (
        "import sys\n"
        "from waypost_cli.__main__ import run\n"
        "assert run(['--help']) == 0\n"
        "heavy = {'nats', 'asyncpg', 'structlog', 'msgspec.json', 'waypost', 'uvloop'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_no_command_imports_a_service() -> None:
    services = ("waypost_coordinator", "waypost_worker", "waypost_gateway", "waypost_audit", "waypost_edge")
    for path in Path(waypost_cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.startswith(services)], path
