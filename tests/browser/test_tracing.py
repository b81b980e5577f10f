"""A run's trace in the console, its ways to Grafana, and what waits in queues."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import nats as nats_client
import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.looking import go, opened, ready
from tests.browser.platform import Platform, edge
from tests.browser.scenes import Scenes
from waypost_io.servers import free_port

GRAFANA = "https://grafana.example.com/bank"


async def test_a_trace_is_read_span_by_span(page: Page, scenes: Scenes) -> None:
    await go(page, f"/runs/{scenes.finished}")
    await page.get_by_role("link", name="Trace", exact=True).click()
    await ready(page)
    lines = page.locator("#trace .wf-lines > li")
    told = (await (await page.request.get(f"/tempo/api/traces/{scenes.finished.replace('-', '')}")).json())["batches"]
    spans = {span["spanId"]: span for batch in told for scope in batch["scopeSpans"] for span in scope["spans"]}
    assert {await line.get_attribute("id") for line in await lines.all()} == {f"span-{span_id}" for span_id in spans}
    bureau = lines.filter(has=page.get_by_text("execute_tool credit-bureau", exact=True))
    await bureau.locator("summary").focus()
    await page.keyboard.press("Enter")
    await expect(bureau.locator(".wf-body")).to_contain_text("gen_ai.tool.name")
    await page.keyboard.press("ArrowDown")
    await expect(bureau.locator("summary")).not_to_be_focused()
    await bureau.get_by_role("link", name="Zoom into it").click()
    await ready(page)
    assert await lines.count() < len(spans)
    await expect(lines.first).to_contain_text("execute_tool credit-bureau")
    await expect(page.get_by_text("Grafana")).to_have_count(0)
    await page.get_by_role("link", name="the whole trace").click()
    await expect(lines).to_have_count(len(spans))


async def test_a_step_leads_to_its_span(page: Page, scenes: Scenes) -> None:
    await go(page, f"/runs/{scenes.finished}")
    await page.get_by_role("treeitem", name=re.compile("Tool call: credit-bureau")).click()
    await page.locator("#panel").get_by_role("link", name="Span in the trace").click()
    await ready(page)
    chosen = page.locator("#trace li.chosen")
    await expect(chosen).to_have_count(1)
    await expect(chosen.locator("summary")).to_contain_text("execute_tool credit-bureau")
    await expect(chosen.locator(".wf-body")).to_be_visible()
    await chosen.get_by_role("link", name=re.compile("Event .* and the state after it")).click()
    await expect(page.get_by_text("What event")).to_be_visible()


async def test_a_trace_goes_on_while_it_is_read(desk: Platform, page: Page) -> None:
    run = await desk.client.start("sleeper", 0.05)
    await go(page, f"/runs/{run.run_id}?tab=trace")
    waits = page.locator("#trace .wf-lines > li").filter(has=page.get_by_text("wait signal", exact=True))
    await expect(waits).to_contain_text("so far")
    await waits.locator("summary").click()
    await desk.client.signal(run.run_id, "documents-received", "thanks")
    await expect(page.locator("#run-head .status").first).to_have_text("completed")
    await expect(waits.locator("summary")).not_to_contain_text("so far")
    await expect(waits.locator(".wf-body")).to_be_visible()  # what somebody opened stays open


@pytest.fixture
async def with_grafana(desk: Platform, tmp_path: Path) -> AsyncIterator[str]:
    """Another edge, which knows where Grafana is."""
    environment = {"WAYPOST_GRAFANA_URL": GRAFANA, "WAYPOST_GRAFANA_TRACES_UID": "tempo-1"}
    async with edge(desk.supervisor, tmp_path, free_port(), environment) as (url, _):
        yield url


async def test_where_grafana_is_known_everything_leads_there(with_grafana: str, browser: Browser, scenes: Scenes) -> None:
    async with opened(browser, with_grafana) as context:
        page = await context.new_page()
        await go(page, f"/runs/{scenes.finished}")
        await page.get_by_role("treeitem", name=re.compile("Tool call: credit-bureau")).click()
        step = str(await page.locator("#panel").get_by_role("link", name="Span in Grafana").get_attribute("href"))
        span = str(await page.locator("#panel").get_by_role("link", name="Span in the trace").get_attribute("href"))
        run = str(await page.get_by_role("link", name="Grafana", exact=True).get_attribute("href"))
        for address in (step, run):
            assert address.startswith(f"{GRAFANA}/explore?")
            [pane] = json.loads(parse_qs(urlsplit(address).query)["panes"][0]).values()
            assert pane["queries"][0]["query"] == scenes.finished.replace("-", "")
            assert pane["datasource"] == "tempo-1"
        assert f'"spanId":"{span.rpartition("-")[2]}"' in parse_qs(urlsplit(step).query)["panes"][0]
        await go(page, f"/runs/{scenes.finished}?tab=trace")
        await page.locator("#trace summary").nth(2).click()
        inside = page.locator("#trace details[open]").get_by_role("link", name="Open in Grafana")
        assert str(await inside.get_attribute("href")).startswith(f"{GRAFANA}/explore?")


async def test_what_waits_is_shown(desk: Platform, page: Page, scenes: Scenes) -> None:
    connection = await nats_client.connect(desk.supervisor.nats_url)
    try:
        await connection.jetstream().publish("waypost.work.sleeper.gone.any", b"{}")
        await go(page, "/agents")
        card = page.get_by_role("article", name="sleeper")
        row = card.get_by_role("row", name=re.compile("gone"))
        await expect(row).to_contain_text("nobody")
        await expect(row).to_contain_text("1 waiting")
        await go(page, "/tools")
        await expect(page.get_by_role("row", name=re.compile("^credit-bureau")).get_by_text("0 waiting")).to_be_visible()
    finally:
        await connection.jetstream().purge_stream("WAYPOST_WORK", subject="waypost.work.sleeper.gone.any")
        await connection.close()
