"""Every page: its links lead somewhere, anchors too; the files that it names exist; the index lists every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCS, PAGES, ROOT, anchors, text_of, without_blocks

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_ROOTS = ("proto", "shared", "services", "examples", "tests", "docs", ".ci")
_FILE = re.compile(r"[\w-]+\.(?:py|md|sql|yaml|toml)")


def links(page: Path) -> list[str]:
    return [link for link in _LINK.findall(without_blocks(text_of(page))) if "://" not in link]


def file_names() -> set[str]:
    return {path.name for folder in (*_ROOTS, ".") for path in (ROOT / folder).glob("*" if folder == "." else "**/*")}


def missing(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


def unknown_files(page: Path, names: set[str]) -> list[str]:
    """What stands in code spans, looks like a file of this repository, and is none."""
    found = []
    for span in _SPAN.findall(without_blocks(text_of(page))):
        if re.fullmatch(rf"(?:{'|'.join(map(re.escape, _ROOTS))})/[\w./-]+", span):
            if not (ROOT / span).exists():
                found.append(span)
        elif _FILE.fullmatch(span) and span not in names:
            found.append(span)
    return found


EXAMPLES = {
    "pools.toml",
    "trip.py",  # what a reader writes
    "agents.py",
    "my_agents.py",
    "identities.toml",
    "secrets.toml",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert missing(page) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_are_named_exist(page: Path) -> None:
    assert unknown_files(page, file_names() | EXAMPLES) == []


def test_the_index_lists_every_page_and_every_decision() -> None:
    listed = {link.partition("#")[0] for link in links(DOCS / "README.md")}
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert there - listed == set(), "add a line to docs/README.md"


def test_a_dead_link_and_a_missing_file_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](gone.md) [b](#one) [c](#two) `tests/none.py` `tests/tidy` `nowhere.py`\n```\n[d](gone.md)\n```\n")
    assert missing(page) == ["gone.md", "#two"]
    assert unknown_files(page, file_names()) == ["tests/none.py", "nowhere.py"]


def test_anchors_are_made_as_forges_make_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# The API\n## `waypost runs …`\n## A, b\n## A, b\n```\n# no heading\n```\n")
    assert anchors(page) == {"the-api", "waypost-runs-", "a-b", "a-b-1"}
