"""Runs command lines against a fake client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.unit.waypost_cli.fake_client import FakeClient
from waypost_cli import __main__ as cli
from waypost_cli import connect


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    """Every command of this test talks to it."""
    fake = FakeClient()
    monkeypatch.setattr(connect, "make_client", lambda bus=None: fake)
    return fake


@pytest.fixture
def waypost(capsys: pytest.CaptureFixture[str]) -> Command:
    """`waypost("runs", "list")` as from a shell."""

    def run(*arguments: str) -> Outcome:
        code = cli.run(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
