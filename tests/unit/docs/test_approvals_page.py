"""docs/approvals.md: its code is an agent, and the tests that it names are there."""

from __future__ import annotations

import re

from tests.unit.docs.pages import ROOT, run_blocks, text_of
from waypost import Agent
from waypost_io.permissions import ADMIN, AUDITOR, OPERATOR, SUBMITTER

PAGE = "approvals.md"


def test_the_agent_of_the_page_is_an_agent() -> None:
    assert isinstance(run_blocks(PAGE).payments, Agent)


def test_the_tests_of_the_page_exist() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/integration/approvals").glob("test_*.py"))
    named = re.findall(r"`(test_\w+?)(?:_…)?`", text_of(PAGE))
    assert len(named) > 6
    for name in named:
        assert f"def {name}" in text, name


def test_every_role_is_told() -> None:
    for role in (SUBMITTER, OPERATOR, ADMIN, AUDITOR):
        assert f"`{role}`" in text_of(PAGE)
