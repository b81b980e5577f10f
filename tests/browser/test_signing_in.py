"""People with tokens: they sign in, see what is theirs, and are offered what they may do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.looking import Scheme, opened, ready, violations
from tests.integration.approvals.platform import Platform, approval_of, platform
from tests.waiting import wait_until
from waypost_io.identity import new_token
from waypost_io.servers import free_port

PEOPLE = {"sam": ["submitter"], "ann": ["officer"], "olga": ["operator", "auditor"], "svc": ["service"]}


@pytest.fixture(scope="module")
async def site(
    tmp_path_factory: pytest.TempPathFactory, chromium: str, nats_url: str, postgres_url: str
) -> AsyncIterator[tuple[Platform, str]]:
    path = tmp_path_factory.mktemp("signing-in")
    async with platform(path, nats_url=nats_url, postgres_url=postgres_url, people=PEOPLE) as desk:
        desk.tokens["bea"], key = new_token()
        people = path / "identities.toml"
        people.write_text(f'{people.read_text()}\n[[identity]]\nsubject = "bea"\nkey = "{key}"\nroles = ["operator"]\ntenant = "bank"\n')
        port = free_port()
        desk.environment |= {"WAYPOST_HTTP_ADDR": f"127.0.0.1:{port}"}
        await desk.start("waypost_edge")
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=url) as http:

            async def up() -> bool:
                return (await http.get("/signin")).status_code == 200

            await wait_until(up, ignore=(httpx.TransportError,), message=desk.log)
        yield desk, url


async def sign_in(people: AsyncExitStack, browser: Browser, url: str, token: str, path: str = "/") -> Page:
    """A page of somebody's own browser, who was sent to the form and came back to where they wanted to go."""
    page = await (await people.enter_async_context(opened(browser, url))).new_page()
    await page.goto(path)
    assert "/signin" in page.url
    await page.get_by_label("API token").fill(token)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page).to_have_url(url + path)
    await ready(page)
    return page


@pytest.fixture
async def people() -> AsyncIterator[AsyncExitStack]:
    """Whose browsers are closed in the end."""
    async with AsyncExitStack() as stack:
        yield stack


async def test_everybody_is_offered_what_they_may_do(site: tuple[Platform, str], browser: Browser, people: AsyncExitStack) -> None:
    desk, url = site
    async with desk.client("sam") as client:
        run_id = (await client.start("payer", {"amount": 7})).run_id
        approval = await approval_of(client, run_id)
    sam = await sign_in(people, browser, url, desk.tokens["sam"], f"/runs/{run_id}")
    await expect(sam.get_by_text("sam", exact=True).first).to_be_visible()
    await expect(sam.get_by_role("button", name="Cancel")).to_have_count(0)
    card = sam.locator(f"#{approval.approval_id}")
    await expect(card.get_by_label("Your name")).to_have_count(0)
    await card.get_by_role("button", name="Approve", exact=True).click()
    await expect(card.get_by_role("alert")).to_contain_text("sam")  # who started it does not approve it
    olga = await sign_in(people, browser, url, desk.tokens["olga"], f"/runs/{run_id}")
    await expect(olga.get_by_role("button", name="Pause")).to_be_visible()
    assert not await violations(olga)
    bea = await sign_in(people, browser, url, desk.tokens["bea"])
    await bea.goto(f"/runs/{run_id}")
    await expect(bea.get_by_role("heading", name="Not Found")).to_be_visible()
    ann = await sign_in(people, browser, url, desk.tokens["ann"], "/approvals")
    await ann.locator(f"#{approval.approval_id}").get_by_role("button", name="Approve", exact=True).click()
    await expect(olga.locator("#run-head .status").first).to_have_text("completed")
    await ann.get_by_role("button", name="Sign out").click()
    await expect(ann).to_have_url(re.compile("/signin"))
    await ann.goto("/approvals")
    assert "/signin" in ann.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_form_is_for_everybody(site: tuple[Platform, str], browser: Browser, scheme: Scheme) -> None:
    async with opened(browser, site[1], width=390, height=800, scheme=scheme) as context:
        page = await context.new_page()
        await page.goto("/approvals")
        await expect(page.get_by_label("API token")).to_be_focused()
        await page.keyboard.type("SUNOTOKEN")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_be_visible()
        red, green, blue = await page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).map(Number)")
        assert (max(red, green, blue) < 100) is (scheme == "dark"), "the stylesheet is the console's"
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth + 1")
        assert not await violations(page)
