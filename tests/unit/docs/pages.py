"""The pages of `docs/` as the tests read them: blocks, links, anchors."""

from __future__ import annotations

import re
import types
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.rglob("*.md")])

_FENCE = re.compile(r"^```(?P<language>[a-z]*)[^\n]*\n(?P<text>.*?)^```", re.DOTALL | re.MULTILINE)


def text_of(page: Path | str) -> str:
    """A page of `docs/` by its name, or any page by its path."""
    return (DOCS / page if isinstance(page, str) else page).read_text(encoding="utf-8")


def blocks(page: Path | str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [match["text"] for match in _FENCE.finditer(text_of(page)) if match["language"] == language]


def without_blocks(text: str) -> str:
    """The prose alone."""
    return _FENCE.sub("", text)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", without_blocks(text_of(page)), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (name := slug if number == 0 else f"{slug}-{number}") in found:
            number += 1
        found.add(name)
    return found


def run_blocks(page: str) -> types.ModuleType:
    """Every Python block of a page, one after another, in one module."""
    module = types.ModuleType(page.removesuffix(".md"))
    offset = text_of(page)
    for block in blocks(page, "python"):
        line = offset[: offset.index(block)].count("\n")
        exec(compile("\n" * line + block, str(DOCS / page), "exec"), module.__dict__)
    return module
