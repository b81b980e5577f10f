"""The site: every page in its navigation, everything of the code in its reference, and nothing fetched from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from docs.site import reference

import waypost
from tests.unit.docs.pages import DOCS, ROOT
from tests.unit.docs.test_metrics_page import metrics_of_the_code
from waypost_cli.app import COMMANDS
from waypost_io import settings
from waypost_io.bus.topology import stream_specs
from waypost_proto import events as ev
from waypost_proto.subjects import Subjects

SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
ELSEWHERE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)")
CANONICAL = re.compile(r"<link[^>]*rel=[\"']?canonical[^>]*>")


def navigated(entries: list[Any]) -> list[str]:
    """The pages of the navigation, in order."""
    found = []
    for entry in entries:
        target = next(iter(entry.values())) if isinstance(entry, dict) else entry
        found += navigated(target) if isinstance(target, list) else [target]
    return found


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    shown = navigated(SITE["nav"])
    pages = {page.name for page in DOCS.glob("*.md")}
    assert pages - set(shown) == set(), "add a line to the nav of mkdocs.yml"
    assert {entry for entry in shown if entry not in pages and entry not in reference.PAGES} == {"files/changelog.md"}
    assert len(shown) == len(set(shown))
    assert set(reference.PAGES) <= set(shown)


@pytest.mark.parametrize("page", reference.PAGES)
def test_reference_pages_have_nothing_of_this_machine(page: str) -> None:
    text = reference.PAGES[page]()
    assert str(ROOT) not in text
    assert " at 0x" not in text
    assert text.count("```") % 2 == 0


def test_the_reference_has_every_command_setting_metric_event_name_and_stream() -> None:
    line = reference.command_line()
    assert {
        command.words for command in COMMANDS if f"## `waypost {command.words}`\n\n```text\nUsage: waypost {command.words}" not in line
    } == set()
    variables = reference.settings()
    assert {name for name in settings.known_variables() if f"`{name}`" not in variables} == set()
    metrics = reference.metrics()
    assert {name for name in metrics_of_the_code() if f"| `{name}` |" not in metrics} == set()
    events = reference.events()
    assert {kind.__struct_config__.tag for kind in get_args(ev.AnyData) if f"## `{kind.__struct_config__.tag}`\n" not in events} == set()
    python = reference.python()
    assert {name for name in waypost.__all__ if f"## `{name}`\n" not in python} == set()
    subjects = reference.subjects()
    assert {spec.name for spec in stream_specs(Subjects(), partitions=8) if f"| `{spec.name}` |" not in subjects} == set()


def test_files_outside_of_docs_become_pages(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    from docs.site import hooks

    text = "[a](../examples/waypost_examples/triage.py) [b](../CHANGELOG.md#unreleased) [c](tools.md)\n```\n[d](../README.md)\n```\n"
    assert hooks.outside_of(DOCS / "x.md", text) == [
        ("../examples/waypost_examples/triage.py", "examples/waypost_examples/triage.py"),
        ("../CHANGELOG.md", "CHANGELOG.md"),
    ]
    assert hooks.page_of("CHANGELOG.md") == "files/changelog.md"
    assert hooks.slug("`waypost runs …`") == "waypost-runs-"
    assert "```python" in hooks.shown("examples/waypost_examples/triage.py")


@pytest.mark.slow
def test_the_site_is_built_offline_and_fetches_nothing(tmp_path: Path) -> None:
    pytest.importorskip("material")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert (built.returncode, built.stderr) == (0, "")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(DOCS.rglob("*.md")))
    for page in pages:
        text = CANONICAL.sub("", page.read_text())
        assert ELSEWHERE.findall(text) == [], page
        assert 'class="mermaid"' not in text, "the theme would fetch what draws it"
    assert (tmp_path / "reference" / "events.html").is_file()
    assert (tmp_path / "search" / "search_index.json").is_file()
