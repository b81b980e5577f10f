"""What the guides show is what is tested: their code is the example's, their commands and links exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from waypost import hosted, load_module
from waypost_cli.app import build
from waypost_examples import trip
from waypost_examples.compliance.cases import parse_cases

ROOT = Path(__file__).parents[3]
GUIDES = [ROOT / "README.md", ROOT / "docs/start.md", ROOT / "docs/compliance-desk.md"]


def blocks(guide: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_guide_shows_the_example() -> None:
    (shown,) = blocks(ROOT / "docs/start.md", "python")
    code = Path(trip.__file__).read_text(encoding="utf-8")
    assert code.partition('"""\n\n')[2] == shown


def test_the_example_is_what_a_worker_and_a_gateway_host(tmp_path: Path) -> None:
    (shown,) = blocks(ROOT / "docs/start.md", "python")
    (tmp_path / "trip_of_the_guide.py").write_text(shown)
    agents, tools = hosted(load_module(str(tmp_path / "trip_of_the_guide.py")))
    assert ([a.name for a in agents], [t.name for t in tools]) == (["trip"], ["weather", "book"])


def test_the_csv_of_the_guide_is_sound() -> None:
    (shown,) = blocks(ROOT / "docs/compliance-desk.md", "csv")
    file = parse_cases(shown.splitlines())
    assert (len(file.cases), file.faults) == (1, [])


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_links_lead_somewhere(guide: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", guide.read_text(encoding="utf-8")):
        assert (guide.parent / link).exists(), link


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.name)
def test_commands_exist(guide: Path) -> None:
    names = set(build())
    for block in blocks(guide, "console"):
        for command in re.findall(r"waypost ([a-z-]+)", block):
            assert command in names, command
