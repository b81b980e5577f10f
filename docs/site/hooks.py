"""mkdocs' hooks: the generated reference, decisions in the navigation, anchors as forges make them, and files outside of `docs/` as pages.

The pages are written for a forge, where `../examples/…` is a file of the repository; on the site such a file is a page of its own, so
that nothing leads away from it.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs.site.reference import PAGES  # noqa: E402 - the path comes first
from mkdocs.structure.files import File, Files  # noqa: E402

DOCS = ROOT / "docs"
_LINK = re.compile(r"(?<=\]\()(\.\./[^)\s#]+)(#[^)\s]*)?(?=\))")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def slug(text: str, separator: str = "-") -> str:
    """The anchor of a heading as forges make it; links are checked with it in `tests/unit/docs` too."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"<[^>]*>", "", text).lower()).replace(" ", separator)


def on_config(config: Any) -> Any:
    """Anchors, and the decisions at the end of the navigation."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = slug
    decisions = [f"adr/{page.name}" for page in sorted((DOCS / "adr").glob("*.md"))]
    config.nav = [*(config.nav or []), {"Decisions": decisions}]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Pages that no file of `docs/` holds."""
    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    for target in sorted({outside for page in DOCS.rglob("*.md") for _, outside in outside_of(page, page.read_text())}):
        files.append(File.generated(config, page_of(target), content=shown(target)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links to files outside of `docs/` lead to their pages."""
    here = Path(page.file.src_uri)
    if page.file.generated_by:
        return markdown
    for link, outside in outside_of(DOCS / here, markdown):
        markdown = markdown.replace(f"]({link}", f"]({os.path.relpath(page_of(outside), here.parent)}")
    return markdown


def outside_of(page: Path, text: str) -> list[tuple[str, str]]:
    """(link as written, path in the repository) of each link that leaves `docs/`."""
    found = []
    for link, _ in _LINK.findall(_FENCE.sub("", text)):
        target = (page.parent / link).resolve()
        if target.is_relative_to(ROOT) and not target.is_relative_to(DOCS):
            found.append((link, str(target.relative_to(ROOT))))
    return found


def page_of(path: str) -> str:
    """Where a file of the repository lies on the site."""
    return f"files/{path.lower().removesuffix('.md')}.md" if path.endswith(".md") else f"files/{path}.md"


def shown(path: str) -> str:
    """A file of the repository as a page; of a folder, what is in it."""
    target = ROOT / path
    if target.is_dir():
        names = "\n".join(f"- `{one.name}`" for one in sorted(target.iterdir()) if not one.name.startswith(("_", ".")))
        return f"# `{path}`\n\nA folder of the repository.\n\n{names}\n"
    text = target.read_text(encoding="utf-8")
    if path.endswith(".md"):
        return re.sub(r"(?<!!)\[([^\]]*)\]\((?!https?:|#)[^)]*\)", r"\1", re.sub(r"!\[[^\]]*\]\([^)]*\)", "", text))
    language = {".py": "python", ".toml": "toml", ".yaml": "yaml", ".json": "json"}.get(target.suffix, "text")
    return f"# `{path}`\n\n```{language}\n{text.rstrip()}\n```\n"
