"""docs/architecture.md: every module of the core and every table has its line, and what is named exists."""

from __future__ import annotations

import re

from tests.unit.docs.pages import ROOT, text_of

PAGE = text_of("architecture.md")
CORE = ROOT / "shared/waypost_core"
SCHEMA = ROOT / "shared/waypost_io/store/schema"


def section(heading: str) -> str:
    return PAGE.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]


def test_every_module_of_the_core_has_its_line() -> None:
    named = set(re.findall(r"^\| `(\w+)\.py`", section("The core"), re.MULTILINE))
    modules = {path.stem for path in CORE.glob("*.py")} - {"__init__"}
    assert named == modules


def test_every_table_has_its_writer() -> None:
    sql = "\n".join(path.read_text() for path in SCHEMA.glob("*.sql"))
    tables = set(re.findall(r"^CREATE TABLE (\w+) \(", sql, re.MULTILINE))
    rows = re.findall(r"^\| (`.*?`) \|", section("Who writes what"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == tables


def test_modules_that_are_named_exist() -> None:
    everywhere = {path.name for root in ("services", "shared", "proto") for path in (ROOT / root).rglob("*.py")}
    assert set(re.findall(r"`(\w+\.py)`", PAGE)) <= everywhere
