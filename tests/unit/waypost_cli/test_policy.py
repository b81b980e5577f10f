"""`waypost policy`: faults with their lines, verdicts in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import json

from tests.unit.waypost_cli.conftest import Command

POLICY = """version = "v1"
[[rules]]
name = "web"
decision = "deny"
reason = "no payments after the web"
taint = ["web"]
[[rules]]
name = "large"
decision = "require_approval"
when = [{ path = "amount", op = ">", value = 10 }]
approval = { role = "officer", quorum = 2 }
[[rules]]
name = "north"
decision = "allow"
labels = { desk = "north*" }
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return str(path)


def test_a_sound_file_is_counted(waypost: Command, file: str) -> None:
    done = waypost("policy", "check", file)
    assert done.code == 0
    assert "3 rules, then allow; version v1@" in done.out


def test_a_fault_is_told_with_its_line(waypost: Command, file: str) -> None:
    Path(file).write_text(POLICY.replace('op = ">"', 'op = "~"'))
    done = waypost("policy", "check", file)
    assert done.code == 1
    assert "policy.toml: line 7: rule 'large': operator '~': use one of ==, !=" in done.err
    found = json.decode(waypost("policy", "check", file, "--json").out)
    assert (found["ok"], found["line"]) == (False, 7)
    assert waypost("policy", "test", file, "--tool", "pay").code == 1


def test_a_file_that_is_not_there(waypost: Command) -> None:
    done = waypost("policy", "check", "/nowhere/policy.toml")
    assert done.code == 1
    assert "/nowhere/policy.toml cannot be read" in done.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--args", '{"amount": 3}'], "allow: no rule matches, the default decides"),
        (["--taint", "mail", "--taint", "web"], "deny: rule 'web': no payments after the web"),
        (
            ["--args", '{"amount": 11}'],
            "require approval (2 people with role 'officer' within 48 hours, then deny): rule 'large'",
        ),
        (["--label", "desk=north-1"], "allow: rule 'north'"),
    ],
)
def test_a_call_is_judged(waypost: Command, file: str, options: list[str], words: str) -> None:
    done = waypost("policy", "test", file, "--tool", "pay", *options)
    assert done.code == 0
    assert done.out.strip() == words


def test_a_verdict_as_json(waypost: Command, file: str) -> None:
    found = json.decode(waypost("policy", "test", file, "--tool", "pay", "--args", '{"amount": 11}', "--json").out)
    assert (found["decision"], found["rule"], found["approval"]["quorum"]) == ("require_approval", "large", 2)


def test_arguments_go_by_name(waypost: Command, file: str) -> None:
    done = waypost("policy", "test", file, "--tool", "pay", "--args", "[1]")
    assert done.code != 0
    assert "--args is no JSON object" in done.err
