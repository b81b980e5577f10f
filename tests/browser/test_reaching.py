"""For everybody: axe finds nothing, keys are enough, both colours, small screens."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.looking import Scheme, go, opened, ready, violations
from tests.browser.platform import Platform
from tests.browser.scenes import Scenes

PLACES = {
    "runs": "/",
    "no runs": "/?agent=nobody",
    "start": "/?agent=underwriter",
    "approvals": "/approvals",
    "decided": "/approvals?state=all",
    "attention": "/attention",
    "agents": "/agents",
    "tools": "/tools",
    "dead": "/dead",
    "run": "/runs/{finished}",
    "doubt": "/runs/{doubt}",
    "paused": "/runs/{paused}",
    "question": "/runs/{question}",
    "trace": "/runs/{finished}?tab=trace",
    "events": "/runs/{finished}?tab=events",
    "state": "/runs/{finished}?tab=state",
    "children": "/runs/{finished}?tab=children",
    "data": "/runs/{finished}?tab=data",
    "compare": "/compare?a={finished}&b={approval}",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_nothing(browser: Browser, desk: Platform, scenes: Scenes, scheme: Scheme) -> None:
    found: dict[str, list[str]] = {}
    async with opened(browser, desk.url, scheme=scheme) as context:
        page = await context.new_page()
        for name, place in PLACES.items():
            await go(page, place.format(**{field: getattr(scenes, field) for field in Scenes.__slots__}))
            await _as_somebody_has_it(page, name)
            wrong = await violations(page)
            if wrong:
                found[name] = wrong
    assert not found


async def _as_somebody_has_it(page: Page, name: str) -> None:
    """What is closed at first is opened."""
    match name:
        case "run" | "doubt":
            await page.get_by_role("treeitem", name=re.compile("Tool call")).first.click()
            await expect(page.locator("#panel .moments")).to_be_visible()
        case "paused":
            await page.locator("#run-head .head-actions").get_by_role("button", name="Resume").click()
        case "start":
            await page.get_by_role("button", name="Start a run").click()
            await expect(page.get_by_label("Applicant")).to_be_visible()
        case "trace":
            await page.locator("#trace summary").nth(4).click()
        case "runs":
            await page.get_by_role("search").locator("[data-pick] > summary").click()


async def test_keys_are_enough(page: Page, scenes: Scenes) -> None:
    await go(page, "/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("/")
    await expect(page.get_by_role("searchbox")).to_be_focused()
    await page.keyboard.type(scenes.finished)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/runs/{scenes.finished}")
    await ready(page)
    rows = page.get_by_role("treeitem")
    await expect(rows.first).to_be_visible()
    await rows.first.focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(rows.nth(2)).to_be_focused()
    await expect(rows.nth(2)).to_have_attribute("aria-expanded", "true")
    count = await rows.count()
    await page.keyboard.press("ArrowLeft")
    await expect(rows.nth(2)).to_have_attribute("aria-expanded", "false")
    assert await rows.count() < count
    await page.keyboard.press("ArrowRight")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    panel = page.locator("#panel")
    await expect(panel).to_be_focused()
    await expect(panel).to_contain_text("tool_call_requested")
    await page.keyboard.press("Escape")
    await expect(panel).to_be_hidden()
    await expect(rows.nth(3)).to_be_focused()
    await page.keyboard.press("g")
    await page.keyboard.press("a")
    await expect(page).to_have_url(re.compile("/approvals$"))


async def test_what_is_drawn_anew_keeps_the_place_of_who_walks_by_keys(page: Page, scenes: Scenes) -> None:
    await go(page, f"/runs/{scenes.finished}")
    rows = page.get_by_role("treeitem")
    await rows.first.focus()
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("ArrowDown")
    await expect(rows.nth(2)).to_be_focused()
    await page.locator("[data-folding]").evaluate("box => box.dispatchEvent(new Event('change'))")  # draws, as live updates do
    await expect(rows.nth(2)).to_have_attribute("tabindex", "0")
    await page.keyboard.press("ArrowDown")
    await expect(rows.nth(3)).to_be_focused()


PRESS = """(pressed) => {
    const went = [];
    navigation.addEventListener("navigate", (event) => { event.preventDefault(); went.push(new URL(event.destination.url).pathname); });
    for (const [key, at, repeat] of pressed) {
        const event = new KeyboardEvent("keydown", { key, repeat, bubbles: true });
        Object.defineProperty(event, "timeStamp", { value: at });
        document.body.dispatchEvent(event);
    }
    return went;
}"""


@pytest.mark.parametrize(
    ("pressed", "went"),
    [
        ([("g", 100), ("a", 300)], ["/approvals"]),
        ([("a", 100), ("g", 200), ("n", 300)], ["/attention"]),
        ([("g", 5_000), ("g", 5_200), ("a", 5_300)], ["/agents"]),
        ([("g", 5_000), ("a", 6_000)], []),
    ],
)
async def test_a_place_takes_two_keys_soon_after_each_other_also_on_a_new_page(
    page: Page, scenes: Scenes, pressed: list[tuple[str, int]], went: list[str]
) -> None:
    """`at` is milliseconds since the page's own start, which a fast hand reaches before the first second is over."""
    await go(page, "/tools")
    assert await page.evaluate(PRESS, [[*each, False] for each in pressed]) == went


async def test_a_key_that_is_held_is_one_key(page: Page, scenes: Scenes) -> None:
    await go(page, "/tools")
    assert await page.evaluate(PRESS, [["g", 5_000, False], ["g", 5_400, True], ["g", 5_430, True]]) == []


async def test_colours_follow_the_system_and_the_switch(browser: Browser, desk: Platform) -> None:
    async with opened(browser, desk.url, scheme="dark") as context:
        page = await context.new_page()
        await go(page, "/")
        colour = "getComputedStyle(document.body).backgroundColor"
        dark = await page.evaluate(colour)
        await page.get_by_role("button", name="Light", exact=True).click()
        light = await page.evaluate(colour)
        assert light != dark
        await go(page, "/approvals")
        assert await page.evaluate(colour) == light, "the choice is kept"
        await page.get_by_role("button", name="As the system").click()
        assert await page.evaluate(colour) == dark


async def test_a_small_screen_needs_no_scrolling_sideways(browser: Browser, desk: Platform, scenes: Scenes) -> None:
    wide = {}
    async with opened(browser, desk.url, width=390, height=800) as context:
        page = await context.new_page()
        for name, place in PLACES.items():
            await go(page, place.format(**{field: getattr(scenes, field) for field in Scenes.__slots__}))
            wide[name] = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert {name: by for name, by in wide.items() if by > 1} == {}


async def test_views_are_addresses_and_named_ones_are_kept(page: Page, scenes: Scenes) -> None:
    await go(page, "/")
    await page.get_by_label("Agent").first.select_option("looper")
    await expect(page).to_have_url(re.compile("agent=looper"))
    await expect(page.locator("#runs tbody tr").first).to_contain_text("looper")
    assert "status" not in page.url, "what is empty is not in an address"
    await page.get_by_label("Name of the view").fill("Archive")
    await page.get_by_role("button", name="Save view").click()
    await go(page, "/")
    await page.get_by_role("link", name="Archive").click()
    await expect(page).to_have_url(re.compile("agent=looper"))
    await ready(page)
    await page.get_by_role("button", name="Forget the view Archive").click()
    await expect(page.get_by_role("link", name="Archive")).to_have_count(0)


async def test_several_statuses_are_one_view(page: Page, scenes: Scenes) -> None:
    await go(page, "/")
    pick = page.get_by_role("search").locator("[data-pick]")
    await pick.locator("summary").click()
    await page.get_by_role("checkbox", name="paused").check()
    await page.get_by_role("checkbox", name="needs approval").check()
    await expect(page).to_have_url(re.compile("status=(waiting_approval%2Cpaused|waiting_approval,paused)$"))
    shown = page.locator("#runs tbody tr .status")
    await expect(page.locator(f"#run-{scenes.paused}")).to_be_visible()
    await expect(page.locator(f"#run-{scenes.question}")).to_be_visible()
    await expect(shown.filter(has_text="completed")).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(pick.locator("summary")).to_be_focused()
    await expect(pick).not_to_have_attribute("open", re.compile(""))
    await expect(pick.locator("[data-pick-text]")).to_have_text("Needs approval, paused")
    await page.get_by_label("Name of the view").fill("People")
    await page.get_by_role("button", name="Save view").click()
    await go(page, "/?status=completed")
    await expect(shown.filter(has_text="paused")).to_have_count(0)
    await page.get_by_role("link", name="People", exact=True).click()
    await ready(page)
    await expect(page.get_by_role("link", name="People", exact=True)).to_have_attribute("aria-current", "true")
    await expect(pick.locator("[data-pick-text]")).to_have_text("Needs approval, paused")
    await expect(page.locator(f"#run-{scenes.paused}")).to_be_visible()
    await expect(shown.filter(has_text="completed")).to_have_count(0)
