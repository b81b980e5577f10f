"""What tests ask of a page again and again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

AXE = Path(__file__).parent / "vendor" / "axe.min.js"


async def ready(page: Page) -> None:
    """The page's scripts have run and it is live."""
    await expect(page.locator("html[data-ready=yes]")).to_have_count(1)
    await expect(page.locator("#linked")).to_have_attribute("data-state", "on")


async def go(page: Page, path: str) -> None:
    await page.goto(path)
    await ready(page)


async def violations(page: Page) -> list[str]:
    """What axe finds wrong with the page as it is, one line each. Evaluated past the page's policy, as a debugger would."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = await page.evaluate("async () => await axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']} ({each['impact']}): {each['help']}: {json.dumps([node['html'][:200] for node in each['nodes'][:3]])}"
        for each in found["violations"]
    ]


async def owned(page: Page) -> bool:
    """Whether a script of somebody else's has run."""
    return bool(await page.evaluate("document.body.dataset.owned !== undefined"))
