"""Submit a run, watch it live, decide, see it end; settle what is in doubt; resume; fork; send a dead letter again."""

from __future__ import annotations

import asyncio
import json
import re

from playwright.async_api import Page, Route, expect

from tests.browser import scenes as scene
from tests.browser.conftest import Faults
from tests.browser.looking import PATIENCE_SECONDS, go, ready
from tests.browser.platform import Platform


def refused(faults: Faults) -> None:
    """The browser has said that a request was refused, and nothing else."""
    assert all("Failed to load resource" in fault for fault in faults), faults
    faults.clear()


async def test_a_run_from_its_start_to_its_end(desk: Platform, page: Page, faults: Faults) -> None:
    await go(page, "/")
    await page.get_by_role("button", name="Start a run").click()
    dialog = page.get_by_role("dialog", name="Start a run")
    await dialog.get_by_label("Agent").fill("underwriter")
    await dialog.get_by_text("Write the input as JSON instead").click()
    await dialog.get_by_label("Input as JSON").fill("{not json")
    await dialog.get_by_role("button", name="Start").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Input is not JSON")
    refused(faults)
    await dialog.get_by_label("Input as JSON").fill("")
    await dialog.get_by_label("Applicant").fill("Sorrel")
    await dialog.get_by_label("Amount").fill("21000")
    await dialog.get_by_label("Pace").fill("0.4")
    await dialog.get_by_label("Labels").fill("customer:sorrel")
    await dialog.get_by_role("button", name="Start").click()
    await page.wait_for_url(re.compile(r"/runs/[0-9a-f-]{36}$"))
    await ready(page)
    tree = page.get_by_role("tree")
    # nothing is reloaded from here on: what appears, appears live
    await expect(tree.get_by_role("treeitem", name=re.compile("Tool call: credit-bureau, .*done"))).to_be_visible()
    await expect(tree.get_by_role("treeitem", name=re.compile("Model call: I check Sorrel"))).to_be_visible()
    card = page.get_by_role("article", name=re.compile("May pay-out run"))
    await expect(card).to_contain_text("acc-sorrel")
    await expect(card).to_contain_text("money leaves the bank")
    await card.get_by_label("Your name").fill("ann")
    await card.get_by_label("Reason").fill("checked the file")
    await card.get_by_role("button", name="Approve", exact=True).click()
    await expect(page.locator("#run-head .status").first).to_have_text("completed")
    await expect(tree.get_by_role("treeitem", name=re.compile("Tool call: pay-out, .*done"))).to_be_visible()
    run_id = page.url.rpartition("/")[2]
    assert (await desk.client.get(run_id)).status == "completed"
    decided = [event async for event in desk.client.events(run_id) if event.type == "approval_granted"]
    assert [json.loads(bytes(event.data))["by"] for event in decided] == ["ann"]


async def test_the_list_shows_runs_as_they_start_and_end(desk: Platform, page: Page) -> None:
    await go(page, "/?agent=sleeper")
    run = await desk.client.start("sleeper", 0.1, labels={"seen": "live"})
    row = page.locator(f"#run-{run.run_id}")
    await expect(row).to_contain_text("waiting")
    await expect(row).to_contain_text("seen:live")
    await desk.client.signal(run.run_id, "documents-received", "thanks")
    await expect(row).to_contain_text("completed")


class Held:
    """Requests whose addresses match have no answer until `release` is set."""

    def __init__(self) -> None:
        self.arrived, self.release = asyncio.Event(), asyncio.Event()

    async def __call__(self, route: Route) -> None:
        self.arrived.set()
        await self.release.wait()
        await route.continue_()


LOOK = "document.dispatchEvent(new Event('visibilitychange'))"
ANSWERED = """() => { window.answered = new Promise((done) => document.body.addEventListener("htmx:finally:request", (event) => {
    if (event.detail.ctx.request.action === "/") done(true);
})); }"""


async def test_a_late_answer_does_not_take_the_place_of_what_was_filtered_since(page: Page, scenes: scene.Scenes) -> None:
    await go(page, "/")
    held = Held()
    await page.route(re.compile(r"^[^?]*:\d+/$"), held)
    await page.evaluate(ANSWERED)
    await page.evaluate(LOOK)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await held.arrived.wait()
    await page.get_by_label("Agent").first.select_option("looper")
    row = page.locator("#runs tbody tr").first
    await expect(row).to_contain_text("looper")
    held.release.set()
    assert await page.evaluate("window.answered")
    assert "looper" in await row.inner_text()


async def test_a_step_is_shown_while_a_live_part_waits_for_its_answer(page: Page, scenes: scene.Scenes) -> None:
    await go(page, f"/runs/{scenes.finished}")
    held = Held()
    await page.route(re.compile(r"part=(badges|head)"), held)
    await page.evaluate(LOOK)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await held.arrived.wait()
    await page.get_by_role("treeitem", name=re.compile("Tool call")).first.click()
    await expect(page.locator("#panel .moments")).to_be_visible()
    held.release.set()


async def test_a_question_is_answered_by_its_form(desk: Platform, page: Page) -> None:
    run_id = await scene.question(desk, "Yarrow")
    await go(page, "/approvals")
    card = page.get_by_role("article", name=re.compile("On which terms does Yarrow"))
    await card.get_by_label("Amount").fill("60000")
    await card.get_by_label("Currency").select_option("CHF")
    await card.get_by_label("Secured").check()
    await card.get_by_role("button", name="Answer").click()
    await expect(card).to_have_count(0)
    await expect(page.locator("#toasts")).to_contain_text("Answered")
    answers = [event async for event in desk.client.events(run_id) if event.type == "question_answered"]
    assert json.loads(bytes(answers[0].data))["answer"] == {"amount": 60_000, "currency": "CHF", "months": 36, "secured": True}
    # above one person's limit: two have to approve, and the second may edit
    card = page.get_by_role("article", name=re.compile("May pay-out run")).filter(has_text="acc-yarrow")
    await expect(card).to_contain_text("people needed")
    await card.get_by_role("button", name="Deny").click()
    await scene.reaches(desk, run_id, scene.has_status("failed"))


async def test_arguments_are_edited(desk: Platform, page: Page) -> None:
    run = await desk.client.start("underwriter", {"applicant": "Teasel", "amount": 9_000, "pace": 0.05})
    await scene.reaches(desk, run.run_id, scene.has_status("waiting_approval"))
    await go(page, f"/runs/{run.run_id}")
    card = page.get_by_role("article", name=re.compile("May pay-out run"))
    await card.get_by_text("Edit the arguments").click()
    await card.get_by_label("Amount").fill("8500")
    await card.get_by_role("button", name="Approve with these arguments").click()
    view = await scene.reaches(desk, run.run_id, scene.has_status("completed"))
    assert b"8500" in bytes(view.result)


async def test_a_call_in_doubt_is_resolved(desk: Platform, page: Page) -> None:
    run_id = await scene.doubt(desk)
    await go(page, "/attention")
    await page.locator(f"li:has(a[href='/runs/{run_id}'])").get_by_role("link", name="Resolve").click()
    await ready(page)
    await page.get_by_role("button", name="Resolve").click()
    dialog = page.get_by_role("dialog", name="Resolve a call in doubt")
    await dialog.get_by_role("radio", name="It took effect").check()
    await dialog.get_by_role("textbox", name="Result").fill('"7 Quay Street"')
    await dialog.get_by_label("Reason").fill("the carrier has it")
    await dialog.get_by_role("button", name="Record it").click()
    await expect(page.locator("#run-head .status").first).to_have_text("completed")
    assert bytes((await desk.client.get(run_id)).result) == b'"7 Quay Street"'


async def test_a_paused_run_goes_on_with_another_limit(desk: Platform, page: Page, faults: Faults) -> None:
    run_id = await scene.paused(desk)
    await go(page, f"/runs/{run_id}")
    await page.locator("#run-head .head-actions").get_by_role("button", name="Resume").click()
    dialog = page.get_by_role("dialog", name="Resume the run")
    await dialog.get_by_label("Steps at most").fill("4")
    await dialog.get_by_role("button", name="Resume").click()
    await expect(dialog.get_by_role("alert")).not_to_be_empty()  # it would stop again at once
    refused(faults)
    await dialog.get_by_label("Steps at most").fill("20")
    await dialog.get_by_role("button", name="Resume").click()
    await expect(page.locator("#run-head .status").first).to_have_text("completed")


async def test_a_dead_letter_is_sent_again_and_discarded(desk: Platform, page: Page) -> None:
    dead_id = await scene.dead_letter(desk)
    await go(page, f"/dead/{dead_id}")
    await expect(page.get_by_label("Body")).to_contain_text("<script>high</script>")
    await expect(page.get_by_label("Bytes")).to_contain_text("00000000")
    await page.get_by_role("button", name="Send again").click()
    await page.wait_for_url("**/dead")
    await expect(page.get_by_role("link", name=str(dead_id), exact=True)).to_have_count(0)
    fresh = page.locator("#dead tbody tr").last
    await fresh.get_by_role("link").click()
    await page.get_by_role("button", name="Discard").click()
    await page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    await page.wait_for_url("**/dead")


async def test_a_fork_and_its_comparison(desk: Platform, page: Page, scenes: scene.Scenes) -> None:
    await go(page, f"/runs/{scenes.finished}")
    await page.get_by_role("button", name="Fork").click()
    dialog = page.get_by_role("dialog", name="Fork the run")
    await dialog.get_by_role("spinbutton", name="From event").fill("1")
    await dialog.get_by_label("Other input").fill(json.dumps({"applicant": "Meridian", "amount": 50_000, "pace": 0.1}))
    await dialog.get_by_role("button", name="Fork").click()
    await page.wait_for_url(lambda url: "/runs/" in url and scenes.finished not in url)
    await ready(page)
    await page.get_by_role("link", name=re.compile("forked from")).click()
    await expect(page.get_by_role("heading", name="Two runs side by side")).to_be_visible()
    await expect(page.locator(".pairs tr.first")).to_have_count(1)


async def test_runs_are_found_by_what_is_known_of_them(desk: Platform, page: Page, scenes: scene.Scenes) -> None:
    await go(page, "/")
    search = page.get_by_role("searchbox")
    await search.fill("customer=halcyon")
    await expect(page.locator("#runs tbody tr")).to_have_count(1)
    await expect(page.locator(f"#run-{scenes.question}")).to_be_visible()
    await page.get_by_label("Started within").select_option("1h")
    await expect(page).to_have_url(re.compile("since=1h"))
    await expect(page.locator(f"#run-{scenes.question}")).to_be_visible()
    await search.fill("customer=nobody-of-that-name")
    await expect(page.get_by_role("heading", name="No run matches")).to_be_visible()
