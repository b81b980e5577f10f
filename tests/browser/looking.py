"""What tests ask of a page again and again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, BrowserContext, Page, expect

Scheme = Literal["light", "dark"]
PATIENCE_SECONDS = 60.0
"""For whatever a page is to do or to show. Nothing is measured here: a machine with other work on it is slow and not wrong."""

AXE = Path(__file__).parent / "vendor" / "axe.min.js"


@asynccontextmanager
async def opened(
    browser: Browser, url: str, *, width: int = 1440, height: int = 900, scheme: Scheme = "light"
) -> AsyncIterator[BrowserContext]:
    """A browser of somebody's own, which is patient and closed in the end."""
    made = await browser.new_context(
        base_url=url, viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    made.set_default_timeout(PATIENCE_SECONDS * 1000)
    try:
        yield made
    finally:
        await made.close()


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
