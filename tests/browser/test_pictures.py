"""The pictures of the README and the docs: `pytest -m browser tests/browser/test_pictures.py --screenshots`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import PICTURES
from tests.browser.looking import Scheme, go, opened
from tests.browser.platform import MODULE, Platform, platform
from tests.browser.scenes import Scenes, everything, finished


@pytest.fixture(autouse=True, scope="module")
def _asked_for(request: pytest.FixtureRequest) -> None:
    if not request.config.getoption("--screenshots", default=False):
        pytest.skip("pictures are written with --screenshots")


@pytest.fixture(scope="module")
async def gallery(chromium: str) -> AsyncIterator[tuple[Platform, Scenes]]:
    """A desk of their own, where nothing has happened that nobody wants to see, whatever other tests did."""
    with tempfile.TemporaryDirectory(prefix="waypost-pictures-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        async with platform(Path(folder), modules=(MODULE,)) as desk:
            yield desk, await everything(desk, rude=False)


async def _taken(page: Page, name: str) -> None:
    await page.mouse.move(0, 0)
    await expect(page.locator(".skeleton")).to_have_count(0)
    await expect(page.locator("#badge-dead")).to_be_visible()
    await page.evaluate("document.fonts.ready.then(() => true)")  # not by polling, which would need eval
    await page.screenshot(path=PICTURES / f"console-{name}.png", animations="disabled")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pictures(browser: Browser, gallery: tuple[Platform, Scenes], scheme: Scheme) -> None:
    desk, scenes = gallery
    async with opened(browser, desk.url, width=1360, height=800, scheme=scheme) as context:
        page = await context.new_page()
        await go(page, f"/runs/{scenes.finished}")
        await page.get_by_role("treeitem", name=re.compile("Tool call: credit-bureau")).click()
        await expect(page.locator("#panel .moments")).to_be_visible()
        await _taken(page, f"run-{scheme}")
        if scheme == "dark":
            return
        await go(page, "/")
        await _taken(page, "runs")
        await go(page, "/approvals")
        await _taken(page, "approvals")
        await go(page, "/attention")
        await _taken(page, "attention")
        await go(page, f"/runs/{scenes.finished}?tab=trace")
        await page.locator("#trace summary").filter(has_text="execute_tool credit-bureau").click()
        await _taken(page, "trace")
        await go(page, "/agents")
        await _taken(page, "agents")
        await go(page, f"/runs/{scenes.finished}?tab=state&at=8")
        await expect(page.get_by_text("What event 8 changed")).to_be_visible()
        await _taken(page, "state")
        other = await finished(desk, amount=90_000, pace=0.1)
        await go(page, f"/compare?a={scenes.finished}&b={other}")
        await _taken(page, "compare")
