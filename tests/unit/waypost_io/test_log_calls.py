"""Every log call of the code: its message is constant, a line about a run says which agent's, and no payload stands above DEBUG."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
METHODS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "log", "msg"}
LOGGERS = {"log", "_log", "logger", "_logger"}
HANDS_ON = {"shared/waypost/run_log.py", "shared/waypost_io/logs.py"}
"""Loggers themselves: the message is their caller's."""
PAYLOADS = {"args", "arguments", "input", "output", "result", "payload", "body", "prompt", "answer", "value", "content", "text"}
"""Names of fields that would hold what users sent. `text` of `bus.pull_status` is the server's own description."""
EXCEPT = {("shared/waypost_io/bus/_pull.py", "text")}
NAMELESS = {
    "services/waypost_coordinator/reading.py": "what a fork is to begin with cannot be read: nobody knows its agent yet",
    "services/waypost_audit/projecting.py": "the log of a run that cannot be read says no agent",
    "services/waypost_edge/tempo/reading.py": "the log of a run that cannot be read says no agent",
}

Call = tuple[str, int, ast.Call]


def log_calls(source: str, where: str) -> Iterator[Call]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            owner = node.func.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if name in LOGGERS:
                yield where, node.lineno, node


def all_calls() -> list[Call]:
    found: list[Call] = []
    for root in ("shared", "services", "examples"):
        for path in sorted((ROOT / root).rglob("*.py")):
            where = str(path.relative_to(ROOT))
            if where not in HANDS_ON:
                found += log_calls(path.read_text(), where)
    return found


def problems(calls: list[Call]) -> list[str]:
    found = []
    for where, line, call in calls:
        at = f"{where}:{line}"
        if not call.args or not isinstance(call.args[0], ast.Constant) or not isinstance(call.args[0].value, str):
            found.append(f"{at}: the message is not constant")
        if len(call.args) > 1:
            found.append(f"{at}: data goes into named fields")
        named = {keyword.arg for keyword in call.keywords}
        if "run_id" in named and "agent" not in named and where not in NAMELESS:
            found.append(f"{at}: a line about a run says which agent's it is")
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr != "debug":
            found += [f"{at}: {name} may be a payload" for name in sorted(named & PAYLOADS - {None}) if (where, name) not in EXCEPT]
    return found


def test_every_log_call_keeps_the_rules() -> None:
    calls = all_calls()
    assert len(calls) > 100
    assert problems(calls) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('log.info(f"run {x} started")', "not constant"),
        ('log.info("run %s started", x)', "named fields"),
        ('self._log.warning("x" + y)', "not constant"),
        ("log.error(message)", "not constant"),
        ('log.info("a", run_id=x)', "which agent"),
        ('log.info("a", result=x)', "payload"),
        ('log.debug("a", result=x)', ""),
        ('log.info("a", run_id=x, agent=y)', ""),
        ('log.info("a", **about(call), why=x)', ""),
    ],
)
def test_what_breaks_a_rule_is_found(line: str, problem: str) -> None:
    found = problems(list(log_calls(line, "x.py")))
    assert (problem in found[0]) if problem else not found
