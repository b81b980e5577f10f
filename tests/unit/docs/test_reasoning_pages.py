"""docs/reasoning.md and docs/teams.md: their code runs, the first example lives, options and limits are those of the code."""

from __future__ import annotations

import inspect
import re

from tests.unit.docs.pages import ROOT, blocks, run_blocks, text_of
from tests.unit.waypost.reasoning.rig import Rig
from waypost import Agent, ReasoningAgent
from waypost.reasoning.options import OUTAGE, Window
from waypost.reasoning.toolbox import MAX_CALLS

PAGE = text_of("reasoning.md")


def test_the_example_of_the_page_lives() -> None:
    service = run_blocks("reasoning.md").service
    rig = Rig(service, "Ann says that her kettle was broken.")
    rig.think()
    rig.answer("m1.1", "order 17 of Ann: one kettle, 40 EUR")
    rig.think()
    assert rig.items[1].approval.role == "manager"
    rig.answer("m2.1", "paid back 40 EUR")
    rig.think()
    assert rig.result == {"order": "17", "granted": True, "reason": "it was broken"}


def test_every_option_is_told_with_its_default() -> None:
    parameters = inspect.signature(ReasoningAgent.__init__).parameters
    table = PAGE.split("## Options\n", 1)[1]
    for name in set(parameters) - {"self"}:
        assert f"`{name}`" in table, name
    assert f"| `max_turns` | {parameters['max_turns'].default} |" in table
    assert f"| `repairs` | {parameters['repairs'].default} |" in table
    assert OUTAGE.max_attempts == 60
    assert f"more than {MAX_CALLS} calls" in PAGE
    assert f"Window(max_tokens={Window().max_tokens:_})" in PAGE
    assert f"max_result_chars={Window().max_result_chars:_}" in PAGE


def test_the_code_of_teams_is_agents() -> None:
    assert isinstance(run_blocks("teams.md").twice, Agent)


def test_every_team_is_told() -> None:
    text = text_of("teams.md")
    folder = ROOT / "examples/waypost_examples/teams"
    for path in folder.glob("[a-z]*.py"):
        assert f"teams/{path.name})" in text, path.name
    tests = (ROOT / "tests/integration/teams/test_teams.py").read_text(encoding="utf-8")
    for named in re.findall(r"`(test_\w+)`", text):
        assert f"def {named}" in tests


def test_the_agents_of_the_readme_are_agents() -> None:
    found: dict[str, object] = {"__name__": "readme"}
    for block in blocks(ROOT / "README.md", "python"):
        exec(compile(block, "README.md", "exec"), found)
    planner = found["planner"]
    assert isinstance(planner, ReasoningAgent)
    assert planner.definition("b").tools == ["book", "weather"]
