"""What an agent, a tool or a label says is text, wherever it is shown. The policy is there, and no page breaks it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Faults
from tests.browser.looking import go, owned, ready
from tests.browser.platform import Platform
from tests.browser.rude import HOSTILE
from tests.browser.scenes import Scenes

PLACES = (
    "/",
    "/approvals",
    "/attention",
    "/runs/{hostile}",
    "/runs/{hostile}?tab=trace",
    "/runs/{hostile}?tab=events",
    "/runs/{hostile}?tab=state",
    "/runs/{hostile}?tab=data",
    "/dead",
    "/agents",
    "/tools",
)


@pytest.mark.parametrize("place", PLACES)
async def test_hostile_output_is_text(page: Page, scenes: Scenes, place: str) -> None:
    await go(page, place.format(hostile=scenes.hostile))
    if place in ("/", "/approvals", "/attention", "/runs/{hostile}"):
        await expect(page.get_by_text("<script>").first).to_be_visible()
    if "tab=state" in place:
        await expect(page.get_by_text("What event")).to_be_visible()
    assert not await owned(page)
    assert await page.locator("main script, main img, main [onload], main [onerror], [style]").count() == 0


async def test_a_hostile_step_in_the_panel_is_text(page: Page, scenes: Scenes) -> None:
    await go(page, f"/runs/{scenes.hostile}")
    await page.get_by_role("treeitem", name=re.compile("Tool call: repeat")).click()
    await expect(page.locator("#panel").get_by_text("<img src=x").first).to_be_visible()
    assert not await owned(page)


async def test_a_hostile_address_is_text(page: Page, faults: Faults) -> None:
    for path in (
        "/?q=<script>alert(1)</script>",
        '/?agent="><script>alert(1)</script>',
        "/?status=<script>",
        "/runs/<script>alert(1)<%2fscript>",
        "/?label=<b>:<img>",
    ):
        await page.goto(path)
        assert await page.locator("main script").count() == 0
    assert all("status of 40" in fault for fault in faults), faults  # bad requests are said to be
    faults.clear()


async def test_the_policy_forbids_what_is_inline(desk: Platform, page: Page, faults: Faults) -> None:
    answer = await page.goto("/")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    await ready(page)
    await page.evaluate(
        "text => { const s = document.createElement('script'); s.textContent = text; document.body.append(s) }",
        "document.body.dataset.owned = 'yes'",
    )
    await page.evaluate("text => { document.querySelector('main').innerHTML = text }", HOSTILE)
    await expect(page.locator("main img")).to_have_count(1)
    assert not await owned(page)
    assert faults, "the browser has to complain of them"
    faults.clear()


async def test_another_site_cannot_act(desk: Platform, page: Page, scenes: Scenes, faults: Faults) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        answer = await page.request.post(f"/runs/{scenes.waiting}/cancel", form={"reason": "x"}, headers=headers)
        assert answer.status == 403, headers
    assert (await desk.client.get(scenes.waiting)).status == "waiting"
    faults.clear()
